// Starting a program that does not outlive the one that started it, which posix_spawn cannot do:
// PR_SET_PDEATHSIG must be asked for by the child itself, between fork and exec, and Swift has no
// fork. Compiled C, as vfork's child must not return from the function that called it.
#pragma once
#include <sys/types.h>

/// Starts a program on three descriptors above 2, in a process group of its own, with no signal
/// blocked or ignored; it is killed when the thread that calls this ends, however that happens.
///
/// `files` are the paths to try one after the other, as execvp(3) does but without its shell for
/// files of an unknown format; both arrays end with NULL. Returns 0 and the process number, or
/// an errno.
int sail_start_program(
    char *const files[], char *const words[], int input, int output, int errors,
    pid_t *identifier);
