/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_BASE_ERROR_H
#define PRA_BASE_ERROR_H

#include "pra.h"

/* Fills err (if not NULL) from a printf format and the code's HTTP status; cuts the message at a
 * UTF-8 boundary and replaces control characters, so that it is one line. Returns code. */
int pra__error(pra_error *err, int32_t code, uint64_t offset, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The usual text for a refused allocation. */
int pra__nomem(pra_error *err);

#endif
