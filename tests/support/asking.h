/* SPDX-License-Identifier: Apache-2.0 */
/* Remote read of a storage through a handler of its own, without a server. What goes wrong in here
 * aborts. */
#ifndef TESTS_SUPPORT_ASKING_H
#define TESTS_SUPPORT_ASKING_H

#include "pra.h"

/* An answer that is taken piece by piece. */
struct asking {
    pra_storage_vtbl vtbl; /* the storage's, without destroy */
    pra_handler *handler;
    pra_exchange *x;
};

/* alloc and limits may be NULL. Returns PRA_OK when a body follows, or the code of the refusal with
 * *err (may be NULL). */
int asking_begin(struct asking *a, const pra_alloc *alloc, const pra_storage *storage,
                 pra_str tenant, const pra_read_request *request, const pra_limits *limits,
                 pra_error *err);
/* As pra_exchange_body. */
int asking_next(struct asking *a, const void **data, size_t *len, pra_error *err);
/* Whatever begin returned. */
void asking_end(struct asking *a);

/* All at once: appends the body of the answer to body. Returns PRA_OK or what went wrong. */
int ask_storage(const pra_storage *storage, pra_str tenant, const pra_read_request *request,
                const pra_limits *limits, pra_buffer *body, pra_error *err);

#endif
