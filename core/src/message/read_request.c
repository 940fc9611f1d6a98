/* SPDX-License-Identifier: Apache-2.0 */
#include "message/read_request.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

int pra_read_request_new(const pra_alloc *alloc, pra_read_request **out)
{
    if (!out)
        return PRA_ERR_INVALID_ARG;
    pra_alloc a = pra__alloc_copy(alloc);
    pra_read_request *req = pra__calloc(&a, sizeof(*req));
    pra_limits limits;
    if (!req)
        return PRA_ERR_NOMEM;
    (void)pra__limits_resolve(NULL, &limits);
    pra__arena_init(&req->arena, &a, 0);
    req->retain = (size_t)limits.retain_bytes;
    *out = req;
    return PRA_OK;
}

static void free_programs(pra_read_request *req)
{
    for (size_t i = 0; i < req->query_count; i++) {
        struct pra_query *q = req->queries[i];
        for (size_t j = 0; j < q->matcher_count; j++)
            if (q->matchers[j].program)
                q->matchers[j].program_free(q->matchers[j].program);
    }
}

void pra_read_request_free(pra_read_request *req)
{
    if (!req)
        return;
    pra_alloc alloc = req->arena.alloc;
    free_programs(req);
    pra__arena_fini(&req->arena);
    pra__free(&alloc, req, sizeof(*req));
}

void pra_read_request_reset(pra_read_request *req)
{
    if (!req)
        return;
    free_programs(req);
    pra__arena_trim(&req->arena, req->retain);
    req->arena.max_bytes = 0;
    req->queries = NULL;
    req->accepted = NULL;
    req->query_count = req->matcher_count = req->accepted_count = 0;
    req->state = PRA__READ_EMPTY;
}

struct pra_query *pra__read_request_query(pra_read_request *req, size_t index)
{
    return req->queries[index];
}

const pra_alloc *pra__read_request_alloc(const pra_read_request *req)
{
    return &req->arena.alloc;
}

/* ---- growing */

int pra__read_request_take(pra_read_request *req, size_t size, void **out)
{
    const pra_arena *arena = &req->arena;
    if (arena->max_bytes && size > arena->max_bytes - arena->used)
        return PRA_ERR_MEMORY_BUDGET;
    void *ptr = pra_arena_alloc(&req->arena, size, 16);
    if (!ptr)
        return PRA_ERR_NOMEM;
    *out = ptr;
    return PRA_OK;
}

/* Room for one element more in an array of count elements: its capacity is 4 or the next power of
 * two, so it is full at each of those. What it was before stays in the arena. */
static int grow(pra_read_request *req, const void *array, size_t count, size_t size, void **out)
{
    if (count != 0 && (count < 4 || (count & (count - 1)) != 0)) {
        memcpy(out, &array, sizeof(array));
        return PRA_OK;
    }
    size_t cap = count ? count * 2 : 4;
    if (cap > SIZE_MAX / 4 / size)
        return PRA_ERR_NOMEM;
    int rc = pra__read_request_take(req, cap * size, out);
    if (rc == PRA_OK && count)
        memcpy(*out, array, count * size);
    return rc;
}

int pra__read_request_push_query(pra_read_request *req, struct pra_query **out)
{
    void *array, *query = NULL;
    int rc = grow(req, req->queries, req->query_count, sizeof(*req->queries), &array);
    if (rc == PRA_OK)
        rc = pra__read_request_take(req, sizeof(**out), &query);
    if (rc)
        return rc;
    memset(query, 0, sizeof(**out));
    *out = query;
    (*out)->hints.size = sizeof((*out)->hints);
    req->queries = array;
    req->queries[req->query_count++] = *out;
    return PRA_OK;
}

int pra__read_request_push_matcher(pra_read_request *req, struct pra_query *query,
                                   struct pra_matcher **out)
{
    void *array;
    int rc = grow(req, query->matchers, query->matcher_count, sizeof(**out), &array);
    if (rc)
        return rc;
    query->matchers = array;
    *out = &query->matchers[query->matcher_count++];
    memset(*out, 0, sizeof(**out));
    req->matcher_count++;
    return PRA_OK;
}

int pra__read_request_push_grouping(pra_read_request *req, struct pra_query *query, pra_str label)
{
    pra_read_hints *hints = &query->hints;
    void *array;
    int rc = grow(req, hints->grouping, hints->grouping_count, sizeof(label), &array);
    if (rc)
        return rc;
    ((pra_str *)array)[hints->grouping_count++] = label;
    hints->grouping = array;
    return PRA_OK;
}

int pra__read_request_push_accepted(pra_read_request *req, int32_t type)
{
    void *array;
    int rc = grow(req, req->accepted, req->accepted_count, sizeof(type), &array);
    if (rc)
        return rc;
    req->accepted = array;
    req->accepted[req->accepted_count++] = type;
    return PRA_OK;
}

/* ---- look */

size_t pra_read_request_query_count(const pra_read_request *req)
{
    return req->query_count;
}

const pra_query *pra_read_request_query(const pra_read_request *req, size_t index)
{
    return index < req->query_count ? req->queries[index] : NULL;
}

size_t pra_read_request_accepted(const pra_read_request *req, const int32_t **out)
{
    *out = req->accepted;
    return req->accepted_count;
}

int64_t pra_query_start_ms(const pra_query *query)
{
    return query->start_ms;
}

int64_t pra_query_end_ms(const pra_query *query)
{
    return query->end_ms;
}

size_t pra_query_matcher_count(const pra_query *query)
{
    return query->matcher_count;
}

const pra_matcher *pra_query_matcher(const pra_query *query, size_t index)
{
    return index < query->matcher_count ? &query->matchers[index] : NULL;
}

int pra_query_hints(const pra_query *query, pra_read_hints *out)
{
    if (!query || !out)
        return PRA_ERR_INVALID_ARG;
    return pra__struct_out(out, &query->hints, sizeof(query->hints));
}

void **pra_query_state(const pra_query *query)
{
    /* const is what a storage sees of the question; this place is the storage's. */
    return &((struct pra_query *)(uintptr_t)query)->state;
}

/* ---- build */

static int open_for_building(pra_read_request *req)
{
    if (!req)
        return PRA_ERR_INVALID_ARG;
    if (req->state == PRA__READ_DECODED)
        return PRA_ERR_STATE;
    req->state = PRA__READ_BUILT;
    return PRA_OK;
}

static int open_query(pra_read_request *req, struct pra_query **out)
{
    int rc = open_for_building(req);
    if (rc)
        return rc;
    if (req->query_count == 0)
        return PRA_ERR_STATE;
    *out = req->queries[req->query_count - 1];
    return PRA_OK;
}

static int copy(pra_read_request *req, pra_str s, pra_str *out)
{
    if (!s.ptr && s.len)
        return PRA_ERR_INVALID_ARG;
    return pra__arena_str(&req->arena, s, out);
}

int pra_read_request_add_query(pra_read_request *req, int64_t start_ms, int64_t end_ms)
{
    struct pra_query *query;
    int rc = open_for_building(req);
    if (rc == PRA_OK)
        rc = pra__read_request_push_query(req, &query);
    if (rc)
        return rc;
    query->start_ms = start_ms;
    query->end_ms = end_ms;
    return PRA_OK;
}

int pra_read_request_add_matcher(pra_read_request *req, int32_t type, pra_str name, pra_str value)
{
    struct pra_query *query;
    struct pra_matcher *matcher;
    pra_str own_name, own_value;
    int rc = open_query(req, &query);
    if (rc == PRA_OK)
        rc = copy(req, name, &own_name);
    if (rc == PRA_OK)
        rc = copy(req, value, &own_value);
    if (rc == PRA_OK)
        rc = pra__read_request_push_matcher(req, query, &matcher);
    if (rc)
        return rc;
    matcher->type = type;
    matcher->name = own_name;
    matcher->value = own_value;
    return PRA_OK;
}

int pra_read_request_set_hints(pra_read_request *req, const pra_read_hints *hints)
{
    struct pra_query *query;
    pra_read_hints own;
    void *grouping = NULL;
    int rc = open_query(req, &query);
    if (rc == PRA_OK)
        rc = hints ? pra__opts_copy(&own, sizeof(own), hints, hints->size) : PRA_ERR_INVALID_ARG;
    if (rc == PRA_OK && !own.grouping && own.grouping_count)
        rc = PRA_ERR_INVALID_ARG;
    if (rc == PRA_OK)
        rc = copy(req, own.func, &own.func);
    if (rc == PRA_OK && own.grouping_count > SIZE_MAX / sizeof(pra_str))
        rc = PRA_ERR_INVALID_ARG;
    if (rc == PRA_OK && own.grouping_count)
        rc = pra__read_request_take(req, own.grouping_count * sizeof(pra_str), &grouping);
    for (size_t i = 0; rc == PRA_OK && i < own.grouping_count; i++)
        rc = copy(req, own.grouping[i], (pra_str *)grouping + i);
    if (rc)
        return rc;
    own.size = sizeof(own);
    own.grouping = grouping;
    query->hints = own;
    return PRA_OK;
}

int pra_read_request_add_accepted(pra_read_request *req, int32_t type)
{
    int rc = open_for_building(req);
    return rc ? rc : pra__read_request_push_accepted(req, type);
}
