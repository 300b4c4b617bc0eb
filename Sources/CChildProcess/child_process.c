#define _GNU_SOURCE
#include "child_process.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/// Tries the files in turn; comes back with the errno of the attempt that says most.
static int execute(char *const files[], char *const words[]) {
  int code = ENOENT;
  for (size_t index = 0; files[index] != NULL; ++index) {
    execve(files[index], words, environ);
    switch (errno) {
      case EACCES:
        code = EACCES;
        break;
      case ENOENT:
      case ENOTDIR:
      case ESTALE:
      case ENODEV:
      case ETIMEDOUT:
        break;
      default:
        return errno;
    }
  }
  return code;
}

int sail_start_program(
    char *const files[], char *const words[], int input, int output, int errors,
    pid_t *identifier) {
  sigset_t all, none, before;
  sigfillset(&all);
  sigemptyset(&none);
  const pid_t parent = getpid();
  // The child writes here: until exec it runs in this process's memory while this thread waits.
  volatile int code = 0;
  // No handler of this process may run in the child.
  pthread_sigmask(SIG_BLOCK, &all, &before);
  const pid_t child = vfork();
  if (child == 0) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // The parent may have ended before the line above.
    if (getppid() != parent) _exit(127);
    struct sigaction action = {0};
    action.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; ++number) sigaction(number, &action, NULL);
    if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(errors, 2) < 0) {
      code = errno;
      _exit(127);
    }
    sigprocmask(SIG_SETMASK, &none, NULL);
    code = execute(files, words);
    _exit(127);
  }
  const int failure = child < 0 ? errno : 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failure != 0) return failure;
  if (code != 0) {
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    return code;
  }
  *identifier = child;
  return 0;
}
