/* SPDX-License-Identifier: Apache-2.0 */
/* What the handler's options leave of the queries, before a storage sees them. */
#include "remote/read_scope.h"

#include "base/str.h"
#include "message/read_request.h"

static int is_ignored(const pra_handler *h, const struct pra_matcher *matcher)
{
    for (size_t i = 0; i < h->ignored_matcher_count; i++)
        if (pra__str_equal(h->ignored_matchers[i], matcher->name))
            return 1;
    return 0;
}

/* Asks for just what an external label says: the storage's own series do not have it. */
static int is_external(const pra_handler *h, const struct pra_matcher *matcher)
{
    for (size_t i = 0; i < h->external_label_count; i++)
        if (pra__str_equal(h->external_labels[i].name, matcher->name))
            return matcher->type == PRA_MATCH_EQUAL &&
                   pra__str_equal(h->external_labels[i].value, matcher->value);
    return 0;
}

static void rewrite_matchers(const pra_handler *h, struct pra_query *query)
{
    size_t kept = 0;
    for (size_t i = 0; i < query->matcher_count; i++) {
        struct pra_matcher *matcher = &query->matchers[i];
        if (is_ignored(h, matcher))
            continue;
        if (is_external(h, matcher))
            matcher->value = (pra_str){NULL, 0};
        query->matchers[kept++] = *matcher;
    }
    query->matcher_count = kept;
}

/* now_ms - ms, or the first of all times. */
static int64_t before(int64_t now_ms, uint64_t ms)
{
    uint64_t room = (uint64_t)now_ms - (uint64_t)INT64_MIN;
    return ms < room ? (int64_t)((uint64_t)now_ms - ms) : INT64_MIN;
}

static void trim_times(const pra_handler *h, int64_t now_ms, struct pra_query *query)
{
    int64_t oldest = before(now_ms, h->read_max_age_ms);
    int64_t youngest = before(now_ms, h->read_delay_ms);
    if (h->read_max_age_ms && query->start_ms < oldest)
        query->start_ms = oldest;
    if (h->read_delay_ms && query->end_ms > youngest)
        query->end_ms = youngest;
}

static int64_t now(const pra_clock *clock)
{
    return clock->now_ms ? clock->now_ms(clock->ctx) : *(const int64_t *)clock->ctx;
}

void pra__read_scope_apply(const pra_handler *h, pra_read_request *req)
{
    int timed = h->read_max_age_ms || h->read_delay_ms;
    int64_t now_ms = timed ? now(&h->clock) : 0;
    for (size_t i = 0; i < pra_read_request_query_count(req); i++) {
        struct pra_query *query = pra__read_request_query(req, i);
        rewrite_matchers(h, query);
        if (timed)
            trim_times(h, now_ms, query);
    }
}
