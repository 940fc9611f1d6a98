/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines of the server; the program pra writes its own with the same functions. */
#ifndef PRA_SERVER_LOG_H
#define PRA_SERVER_LOG_H

#include "pra_server.h"

#include <stdarg.h>
#include <stdatomic.h>

/* A sink with a bound on warnings that clients can cause. */
typedef struct pra__log {
    pra_log sink;
    atomic_uint_fast64_t second;  /* the second that `lines` counts */
    atomic_uint_fast64_t lines;   /* limited lines in that second */
    atomic_uint_fast64_t dropped; /* not written since the last one written */
} pra__log;

/* Appends src as a logfmt value at dst[at]: bare where that is unambiguous, else a quoted string
 * with JSON's escapes. Always terminates dst; what does not fit is cut. Returns the new length. */
size_t pra__log_value(char *dst, size_t cap, size_t at, const char *src, size_t len);

/* msg=… followed by fields, which is logfmt made from fmt or NULL. */
void pra__log_write(const pra_log *sink, int32_t level, const char *msg, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* 1 if a line caused by a client may be written now: at most 10 per second. *dropped = how many
 * were not since the last time. */
int pra__log_allowed(pra__log *log, uint64_t *dropped);

#endif
