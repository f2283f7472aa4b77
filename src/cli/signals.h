/* Signals are read from a descriptor instead of interrupting: no handlers, no global state. */
#ifndef EL_CLI_SIGNALS_H
#define EL_CLI_SIGNALS_H

/* From now on SIGINT and SIGTERM reach this thread, and those that it starts, only through the returned descriptor.
 * Call it before the engine is opened. -1: errno says why. */
int el_cli_signals_open(void);
/* Like el_cli_signals_open, with SIGHUP. */
int el_cli_signals_open_with_hangup(void);
/* Waits up to timeout_ms (-1: for ever) for a signal. Returns its number, or 0. */
int el_cli_signal_take(int fd, int timeout_ms);

#endif
