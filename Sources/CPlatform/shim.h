// What Glibc offers only under _GNU_SOURCE or as an instruction.
#pragma once
#define _GNU_SOURCE
#include <sched.h>
static inline void sail_pause(void) { __builtin_ia32_pause(); }
/// Number of CPUs in this process's affinity mask.
static inline int sail_affinity_count(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return CPU_COUNT(&set);
}
static inline int sail_cpu_supports_v3(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi2");
}

// A signal handler may only set a flag of this type.
#include <signal.h>
#include <stddef.h>
static volatile sig_atomic_t sail_stop_flag = 0;
static inline void sail_request_stop(int number) {
  (void)number;
  sail_stop_flag = 1;
}
/// Lets SIGUSR1 set the flag. Used in one source file only: each object file has its own copy.
static inline void sail_listen_for_stop(void) {
  struct sigaction action = {0};
  action.sa_handler = sail_request_stop;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, NULL);
}
static inline int sail_stop_was_requested(void) { return sail_stop_flag; }
