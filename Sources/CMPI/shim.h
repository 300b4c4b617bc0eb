// Open MPI's handles are cast macros, which Swift does not import: accessors instead.
#pragma once
#include <mpi.h>
static inline MPI_Comm sail_mpi_comm_world(void) { return MPI_COMM_WORLD; }
