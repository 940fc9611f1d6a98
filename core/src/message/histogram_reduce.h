/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_MESSAGE_HISTOGRAM_REDUCE_H
#define PRA_MESSAGE_HISTOGRAM_REDUCE_H

#include "message/columns.h"

/* Brings a histogram of schema 9 to 52 down to schema 8, in place: buckets are joined, and its
 * ranges become shorter [W-48]. Returns PRA_OK, or PRA_ERR_HISTOGRAM with the reason in why (may be
 * NULL) and nothing changed: spans that do not fit the buckets, bucket indexes beyond 32 bits. The
 * result is still to be checked. */
int pra__histogram_reduce(struct pra__columns *c, pra_histogram *h, pra_error *why);

#endif
