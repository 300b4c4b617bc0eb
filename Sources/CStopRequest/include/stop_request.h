// A flag that SIGUSR1 sets. Compiled C, not an inline header: the flag must exist once.
#pragma once

/// Lets SIGUSR1 set the flag instead of ending the process.
void sail_listen_for_stop(void);
/// Whether SIGUSR1 came since then.
int sail_stop_was_requested(void);
