/* SPDX-License-Identifier: Apache-2.0 */
/* How a server's main thread waits for signals, which all threads block. */
#ifndef PRA_SERVER_SIGNALS_H
#define PRA_SERVER_SIGNALS_H

#include <signal.h>
#include <time.h>

/* Whether one that ends the process has come, and waits. */
static inline int pra__signal_to_end(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

/* The next of signals. One that ends goes before SIGHUP, of which there may be more than can be
 * answered. */
static inline int pra__signal_wait(const sigset_t *signals)
{
    int number = 0;
    do {
        while (sigwait(signals, &number) != 0) {
        }
    } while (number == SIGHUP && pra__signal_to_end());
    return number;
}

/* Those that came in the meantime are none that anybody waits for. */
static inline void pra__signal_drop(const sigset_t *signals)
{
    const struct timespec at_once = {0};
    while (sigtimedwait(signals, NULL, &at_once) > 0) {
    }
}

#endif
