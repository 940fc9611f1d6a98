/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_REMOTE_EXCHANGE_H
#define PRA_REMOTE_EXCHANGE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "message/series_sink.h"
#include "remote/context.h"
#include "remote/handler.h"
#include "remote/stream.h"
#include "remote/write_result.h"

enum { PRA__MAX_HEADERS = 8, PRA__WRITTEN_KINDS = 3 };

/* Where an exchange is. The last three are the public PRA_STEP_… */
enum pra__phase { PRA__IDLE = 0, PRA__BODY = -1 };

struct pra_exchange {
    pra_alloc alloc;
    pra_handler *handler;
    int phase; /* PRA__IDLE, PRA__BODY, or PRA_STEP_… */
    int busy;  /* a storage callback is running */

    /* the request */
    pra_arena arena; /* holds the context's strings */
    pra_context context;
    int32_t endpoint;
    int32_t version;          /* PRA_WRITE_…, response type, or -1 */
    uint64_t content_length;  /* UINT64_MAX: not announced */
    pra_buffer body;          /* as received */
    pra_write_request *write; /* made when first needed, then kept */
    pra_read_request *read;   /* likewise */
    pra_write_result result;
    pra__read_budget read_budget; /* what all sinks of a request may hold together */
    pra_series_sink **sinks;      /* sink_cap of them, kept from request to request */
    size_t sink_cap;
    size_t sink_count; /* of this request */

    /* the answer */
    pra_error error;
    int32_t status;
    pra_header headers[PRA__MAX_HEADERS];
    size_t header_count;
    char retry_after[24];
    uint64_t written[PRA__WRITTEN_KINDS]; /* by PRA_DATUM_…: what the storage has taken [W-25] */
    char written_text[PRA__WRITTEN_KINDS][24];
    pra_buffer out;   /* the body */
    pra_buffer plain; /* the body before compression */
    int body_given;
    struct pra__stream stream; /* of a streamed answer: the request is kept until its end */
    pra_exchange_stats stats;
};

/* answer.c: how an outcome becomes an answer. Afterwards phase is PRA_STEP_RESPOND. */

/* x->error holds what the peer or we did wrong. */
void pra__answer_error(pra_exchange *x);
/* An error with this message; returns PRA_DONE. */
int pra__refuse(pra_exchange *x, int32_t code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The storage's outcome of a write or a read; err may be &x->error. */
void pra__answer_write(pra_exchange *x, int code, const pra_error *err);
void pra__answer_read(pra_exchange *x, int code, const pra_error *err);

/* exchange.c: lets go of what is not needed once the answer stands. */
void pra__exchange_drop_request(pra_exchange *x);
/* Query number index is over: the storage's state of it is released. */
void pra__query_over(pra_exchange *x, size_t index);
void pra__queries_over(pra_exchange *x);
/* Lets go of the answer. */
void pra__exchange_drop_body(pra_exchange *x);

/* sinks.c: one sink a query. */
int pra__sinks_prepare(pra_exchange *x);
/* Keeps sinks for the next request while they hold no more than retain bytes together. */
void pra__sinks_trim(pra_exchange *x, size_t retain);
void pra__sinks_free(pra_exchange *x);
/* Asks the storage for every query. Returns what its entry returned. */
int pra__sinks_fill(pra_exchange *x);

#endif
