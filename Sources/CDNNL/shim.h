// oneDNN's C API. omp.h is not on clang's path, so the one call we need is declared here.
#pragma once
#include <dnnl.h>
#include <dnnl_debug.h>
void omp_set_num_threads(int count);
