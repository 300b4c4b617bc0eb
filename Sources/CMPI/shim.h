// Open MPI's handles are cast macros, which Swift does not import: accessors instead.
#pragma once
#include <mpi.h>
static inline MPI_Comm sail_mpi_comm_world(void) { return MPI_COMM_WORLD; }
static inline MPI_Comm sail_mpi_comm_self(void) { return MPI_COMM_SELF; }
static inline MPI_Info sail_mpi_info_null(void) { return MPI_INFO_NULL; }
static inline MPI_Errhandler sail_mpi_errors_return(void) { return MPI_ERRORS_RETURN; }
static inline MPI_Datatype sail_mpi_byte(void) { return MPI_BYTE; }
static inline MPI_Datatype sail_mpi_int64(void) { return MPI_INT64_T; }
static inline MPI_Datatype sail_mpi_uint64(void) { return MPI_UINT64_T; }
static inline MPI_Datatype sail_mpi_float(void) { return MPI_FLOAT; }
static inline MPI_Op sail_mpi_min(void) { return MPI_MIN; }
static inline MPI_Op sail_mpi_sum(void) { return MPI_SUM; }
static inline MPI_Status *sail_mpi_statuses_ignore(void) { return MPI_STATUSES_IGNORE; }
static inline int sail_mpi_max_library_version_string(void) {
  return MPI_MAX_LIBRARY_VERSION_STRING;
}
