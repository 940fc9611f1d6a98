/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a read request, for the storey above: remote/query.c compiles its matchers. */
#ifndef PRA_MESSAGE_READ_REQUEST_H
#define PRA_MESSAGE_READ_REQUEST_H

#include "message/matcher.h"
#include "pra.h"

struct pra_query {
    int64_t start_ms;
    int64_t end_ms;
    struct pra_matcher *matchers;
    size_t matcher_count;
    pra_read_hints
        hints; /* present says whether there are any; strings live as long as the query */
};

/* Query number index of req, to be changed in place; index is below the query count. */
struct pra_query *pra__read_request_query(pra_read_request *req, size_t index);
/* The allocator of req. */
const pra_alloc *pra__read_request_alloc(const pra_read_request *req);

#endif
