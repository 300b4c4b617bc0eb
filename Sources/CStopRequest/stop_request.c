#define _POSIX_C_SOURCE 200809L
#include "stop_request.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t is_requested = 0;

static void request_stop(int number) {
  (void)number;
  is_requested = 1;
}

void sail_listen_for_stop(void) {
  struct sigaction action = {0};
  action.sa_handler = request_stop;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGUSR1, &action, NULL);
}

int sail_stop_was_requested(void) { return is_requested; }
