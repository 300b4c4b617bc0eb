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
