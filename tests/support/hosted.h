/* SPDX-License-Identifier: Apache-2.0 */
/* A handler, an exchange, and a storage that does what it is told: for tests of whole requests.
 * What goes wrong in here aborts. */
#ifndef TESTS_SUPPORT_HOSTED_H
#define TESTS_SUPPORT_HOSTED_H

#include "pra.h"

struct hosted;

struct hosted_storage {
    /* what write and process_query do */
    int code;
    int32_t http_status; /* put into the error; 0 = untouched */
    const char *message; /* likewise; NULL = untouched */
    uint32_t retry_after;
    int reject; /* calls of pra_write_result_reject */
    pra_str reason;
    const char *fail_query; /* only queries for these names return code; NULL = all */
    int careless;           /* does not look at what the sink returns */
    struct hosted *inside;  /* tried to be used from within a callback */

    /* what was seen */
    int writes;
    int64_t series;
    int reentered;
    int destroyed;
};

struct hosted {
    pra_handler *handler;
    pra_exchange *x;
    struct hosted_storage *storage;
    int ran;              /* what pra_exchange_run returned */
    pra_str answer;       /* for the caller to fill */
    pra_buffer *gathered; /* likewise; NULL, or freed with the hosted */
};

struct hosted_way {
    int stepped; /* else driven */
    int pieces;  /* the body byte by byte */
};

/* *storage is to be freed after the hosted. */
struct hosted *hosted_try_new(const pra_alloc *alloc, const pra_handler_opts *opts,
                              struct hosted_storage **storage);
/* The same over a storage of the caller's: h->storage is NULL, and way.stepped is not for it. */
struct hosted *hosted_over(const pra_alloc *alloc, const pra_storage *storage,
                           const pra_handler_opts *opts);
struct hosted *hosted_new(const pra_alloc *alloc, const pra_handler_opts *opts);
void hosted_free(struct hosted *h);
void hosted_storage_free(struct hosted_storage *storage);

/* headers_cstr: lines of `name: value\n`, the value as it is behind one space. */
int hosted_begin(struct hosted *h, const char *method_cstr, const char *target_cstr,
                 const char *headers_cstr);
/* A whole request; afterwards the answer stands. */
void hosted_exchange(struct hosted *h, const char *method_cstr, const char *target_cstr,
                     const char *headers_cstr, pra_str body, struct hosted_way way);
/* The part of it behind the head, if begin returned PRA_OK. */
void hosted_body(struct hosted *h, pra_str body, struct hosted_way way);

/* Posts a message, which is compressed first. */
void hosted_post(struct hosted *h, const char *target_cstr, const char *content_type_cstr,
                 const pra_buffer *message, struct hosted_way way);
/* Encodes a request and posts it, then frees it. */
void hosted_post_write(struct hosted *h, int32_t version, pra_write_request *request,
                       struct hosted_way way);
/* Writes a sample of {__name__="v",value=…}. */
void hosted_write(struct hosted *h, pra_str value, struct hosted_way way);
/* Writes a sample of a series with these labels and, before it, one of a good series. */
void hosted_write_labels(struct hosted *h, const pra_label *labels, size_t count,
                         struct hosted_way way);
/* A query for each of these letters, which are metric names. */
void hosted_read(struct hosted *h, const char *names_cstr, struct hosted_way way);
/* Aborts unless the answer of a read holds just these, one a result. */
void hosted_expect_series(const struct hosted *h, const char *names_cstr);

struct hosted_threads {
    int refuse;
    int in_turn; /* no threads: on the caller's */
    int started;
};

/* An executor with a thread for each task, the last task first. */
pra_executor hosted_executor(struct hosted_threads *threads);

#endif
