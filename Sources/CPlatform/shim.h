// What Glibc offers only under _GNU_SOURCE or as an instruction.
#pragma once
#define _GNU_SOURCE
#include <cpuid.h>
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
/// Whether the CPU has AMX, but a hypervisor hides how its tiles are laid out (CPUID leaf 0x1D).
static inline int sail_hides_amx_tiles(void) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & (1u << 24))) return 0;
  return !__get_cpuid_count(0x1D, 0, &a, &b, &c, &d) || a == 0;
}
/// Whether the CPU has AMX tiles that multiply bf16.
static inline int sail_cpu_has_bf16_tiles(void) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  return (d & (1u << 22)) != 0 && (d & (1u << 24)) != 0;
}
