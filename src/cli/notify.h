/* Messages to the service manager that started the program, by the protocol of sd_notify(3): a datagram of lines
 * NAME=VALUE to the socket in $NOTIFY_SOCKET. Without that variable nothing is sent. */
#ifndef EL_CLI_NOTIFY_H
#define EL_CLI_NOTIFY_H

/* Sends the formatted text, lines separated by '\n', in one datagram. 0: sent, or there is no manager; otherwise
 * errno. */
int el_cli_notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A reload begins. Report its end with el_cli_notify("READY=1\nSTATUS=..."), also after a failure, when the program
 * goes on with what it had. */
int el_cli_notify_reloading(void);

/* The interval for el_cli_notify("WATCHDOG=1") in milliseconds: a third of the time after which the manager takes the
 * program for dead, so that two messages may be late. -1: the manager does not watch this process. */
int el_cli_notify_watchdog_ms(void);

#endif
