/* Signals as something to read, not as something that interrupts: no handler, no global state. */
#ifndef EL_CLI_SIGNALS_H
#define EL_CLI_SIGNALS_H

/* From here on SIGINT and SIGTERM reach this thread and those that it starts only through the descriptor returned.
 * Call it before the engine is opened. -1: errno says why. */
int el_cli_signals_open(void);
/* As el_cli_signals_open, and SIGHUP. */
int el_cli_signals_open_with_hangup(void);
/* Waits up to timeout_ms (-1: for ever) for one. Its number, or 0. */
int el_cli_signal_take(int fd, int timeout_ms);

#endif
