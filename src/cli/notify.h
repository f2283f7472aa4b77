/* Words to the service manager that started the program, by the protocol of sd_notify(3): a datagram of lines
 * NAME=VALUE to the socket that $NOTIFY_SOCKET names. Without that variable nobody wants to hear, and nothing is sent.
 */
#ifndef EL_CLI_NOTIFY_H
#define EL_CLI_NOTIFY_H

/* Sends what the format gives, lines with '\n' between, in one datagram. 0: sent, or nobody wants to hear; else errno.
 */
int el_cli_notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A reload begins. What the reload came to is said by el_cli_notify("READY=1\nSTATUS=..."), after a failure too: the
 * program then serves with what it had. */
int el_cli_notify_reloading(void);

/* How often el_cli_notify("WATCHDOG=1") is to be said, in milliseconds: a third of the time after which the manager
 * takes the program for dead, so that two may be late. -1: the manager does not watch this process. */
int el_cli_notify_watchdog_ms(void);

#endif
