/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a read request: shared by its files here and by remote/query.c, which compiles its
 * matchers. */
#ifndef PRA_MESSAGE_READ_REQUEST_H
#define PRA_MESSAGE_READ_REQUEST_H

#include "base/arena.h"
#include "message/matcher.h"
#include "pra.h"

struct pra_query {
    int64_t start_ms;
    int64_t end_ms;
    struct pra_matcher *matchers;
    size_t matcher_count;
    pra_read_hints
        hints;   /* present says whether there are any; strings live as long as the query */
    void *state; /* the storage's own: pra_query_state */
};

enum { PRA__READ_EMPTY = 0, PRA__READ_BUILT = 1, PRA__READ_DECODED = 2 };

/* Everything but the struct itself is in the arena. */
struct pra_read_request {
    pra_arena arena;
    struct pra_query **queries;
    size_t query_count;
    size_t matcher_count; /* of all queries */
    int32_t *accepted;
    size_t accepted_count;
    int state;     /* PRA__READ_… */
    size_t retain; /* bytes kept at reset */
};

/* Query number index of req, to be changed in place; index is below the query count. */
struct pra_query *pra__read_request_query(pra_read_request *req, size_t index);
/* The allocator of req. */
const pra_alloc *pra__read_request_alloc(const pra_read_request *req);

/* Memory of the request, aligned for anything. Returns PRA_OK, PRA_ERR_MEMORY_BUDGET (the arena's
 * bound) or PRA_ERR_NOMEM. */
int pra__read_request_take(pra_read_request *req, size_t size, void **out);

/* Append an element, all zero, to what is there. The strings put into it must be the request's own.
 * Errors of pra__read_request_take. */
int pra__read_request_push_query(pra_read_request *req, struct pra_query **out);
int pra__read_request_push_matcher(pra_read_request *req, struct pra_query *query,
                                   struct pra_matcher **out);
int pra__read_request_push_grouping(pra_read_request *req, struct pra_query *query, pra_str label);
int pra__read_request_push_accepted(pra_read_request *req, int32_t type);

#endif
