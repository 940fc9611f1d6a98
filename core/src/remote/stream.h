/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a streamed answer, piece by piece to. */
#ifndef PRA_REMOTE_STREAM_H
#define PRA_REMOTE_STREAM_H

#include "message/series_list.h"

/* Where the body of an exchange is. */
struct pra__stream {
    int on;        /* the answer is streamed */
    int over;      /* the last piece was given out, or failed tells why there is none */
    int failed;    /* code */
    int pulled;    /* the storage is asked piece by piece; else the sinks hold all frames */
    pra_str piece; /* the next one, if waiting */
    int waiting;
    size_t query;
    size_t at; /* series of its list */

    /* pulled; sink number 0 makes the frames */
    int asked; /* the query has begun */

    /* by select and fetch; else by an ordered process_query */
    pra_series_list list; /* of the query */
    int open;             /* series number at is begun */
    int64_t from_ms;
};

void pra__stream_init(struct pra__stream *s, const pra_alloc *alloc);
void pra__stream_fini(struct pra__stream *s);
/* Ready for the next answer. */
void pra__stream_reset(struct pra__stream *s, size_t retain);

/* Begins the body and makes its first piece: from here on a failure has no status of its own.
 * Returns PRA_OK, or what went wrong with err set. */
int pra__stream_begin(pra_exchange *x, pra_error *err);
/* Makes the next piece, valid until the next call. Returns PRA_OK, PRA_DONE at the end, or as
 * above. */
int pra__stream_next(pra_exchange *x, pra_error *err);

#endif
