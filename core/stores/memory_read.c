/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the memory store: the narrowest matcher finds candidates, all matchers check them. */
#include "memory_store.h"

/* ---- select */

typedef struct mem_scan {
    const pra_query *query;
    pra_series_list *list;
    pra_error *err;
} mem_scan;

/* The points of a series within a range of time, both ends included. */
static bool points_between(const mem_series *series, int64_t start_ms, int64_t end_ms, size_t *from,
                           size_t *to)
{
    *from = pra__mem_point_at(series, start_ms);
    *to = end_ms == INT64_MAX ? series->point_count : pra__mem_point_at(series, end_ms + 1);
    return *from < *to;
}

static int list_series(const mem_scan *scan, const mem_series *series)
{
    size_t from, to;
    if (!points_between(series, pra_query_start_ms(scan->query), pra_query_end_ms(scan->query),
                        &from, &to))
        return PRA_OK;
    int matches = pra_query_matches(scan->query, series->labels, series->label_count);
    if (matches != 1)
        return matches; /* 0 is PRA_OK */
    return pra_series_list_add(scan->list, series->labels, series->label_count, series->id,
                               scan->err);
}

static int list_posting(const mem_scan *scan, const mem_posting *posting)
{
    int code = PRA_OK;
    for (size_t i = 0; code == PRA_OK && i < posting->count; i++)
        code = list_series(scan, posting->series[i]);
    return code;
}

/* The number of series a lookup leads to, without evaluating a pattern. */
static size_t cost_of(const mem_tenant *tenant, const pra__lookup *lookup)
{
    const mem_name *name = pra__mem_name(tenant, lookup->name);
    if (!name)
        return 0;
    size_t cost = 0;
    if (lookup->kind == PRA__LOOKUP_VALUES) {
        for (size_t i = 0; i < lookup->value_count; i++) {
            const mem_value *value = pra__mem_value(name, lookup->values[i]);
            cost += value ? value->posting.count : 0;
        }
        return cost;
    }
    return tenant->all.count;
}

static bool in_range(const pra__lookup *lookup, const mem_value *value)
{
    pra_str text = {value->text, value->len};
    return pra__str_starts_with(text, lookup->prefix) &&
           pra_matcher_matches(lookup->matcher, text) !=
               0; /* an error is met again by list_series */
}

static int list_lookup(const mem_scan *scan, const mem_tenant *tenant, const pra__lookup *lookup)
{
    const mem_name *name = pra__mem_name(tenant, lookup->name);
    if (!name)
        return PRA_OK;
    int code = PRA_OK;
    if (lookup->kind == PRA__LOOKUP_VALUES) {
        for (size_t i = 0; code == PRA_OK && i < lookup->value_count; i++) {
            const mem_value *value = pra__mem_value(name, lookup->values[i]);
            if (value)
                code = list_posting(scan, &value->posting);
        }
        return code;
    }
    for (pra__node *n = NULL; code == PRA_OK && (n = pra__table_each(&name->values, n));)
        if (in_range(lookup, (const mem_value *)n))
            code = list_posting(scan, &((const mem_value *)n)->posting);
    return code;
}

int pra__mem_select(const mem_tenant *tenant, const pra_query *query, pra_series_list *list,
                    pra_error *err)
{
    const mem_scan scan = {query, list, err};
    const pra_matcher *best = NULL;
    size_t best_cost = SIZE_MAX;
    pra__lookup lookup;
    for (size_t i = 0; i < pra_query_matcher_count(query); i++) {
        pra__lookup_init(&lookup, pra_query_matcher(query, i));
        size_t cost = lookup.kind == PRA__LOOKUP_FILTER ? SIZE_MAX : cost_of(tenant, &lookup);
        if (cost < best_cost) {
            best = lookup.matcher;
            best_cost = cost;
        }
    }
    if (!best)
        return list_posting(&scan, &tenant->all);
    pra__lookup_init(&lookup, best);
    return list_lookup(&scan, tenant, &lookup);
}

/* ---- fetch */

static int push(const mem_series *series, size_t from, size_t to, pra__feed *feed)
{
    int code = PRA_OK;
    for (size_t i = from, end; code == PRA_OK && i < to; i = end) {
        const mem_histogram *histogram = pra__mem_histogram(series, i);
        end = i + 1;
        if (histogram) {
            code = pra__feed_histogram(feed, (pra_str){histogram->data, histogram->len});
            continue;
        }
        while (end < to && !pra__mem_histogram(series, end))
            end++;
        code = pra__feed_flush(feed);
        if (code == PRA_OK) /* as they are: a slice of the columns */
            code = pra_series_sink_samples(feed->sink, series->timestamps_ms + i,
                                           series->values + i, end - i, feed->err);
    }
    return code == PRA_OK ? pra__feed_flush(feed) : code;
}

int pra__mem_fetch(const mem_store *store, const mem_tenant *tenant, const pra_query *query,
                   uint64_t id, int64_t from_ms, pra_series_sink *sink, pra_error *err)
{
    pra_write_request *scratch = NULL;
    pra__feed feed;
    size_t from, to, at = pra__mem_posting_at(&tenant->all, id);
    const mem_series *series = at < tenant->all.count ? tenant->all.series[at] : NULL;
    if (!series || series->id != id ||
        !points_between(series, from_ms, pra_query_end_ms(query), &from, &to))
        return PRA_OK;
    pra__feed_init(&feed, &store->alloc, &scratch, sink, err);
    int code = push(series, from, to, &feed);
    pra_write_request_free(scratch);
    return code;
}
