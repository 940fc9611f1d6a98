/* SPDX-License-Identifier: Apache-2.0 */
/* Queries of the memory store: the narrowest matcher finds candidates, all matchers check them. */
#include "memory_store.h"

typedef struct mem_scan {
    const pra_query *query;
    int64_t start_ms;
    int64_t end_ms;
    pra_series_sink *sink;
    pra_error *err;
} mem_scan;

static int emit(const mem_scan *scan, const mem_series *series)
{
    size_t from = pra__mem_sample_at(series, scan->start_ms);
    size_t to = scan->end_ms == INT64_MAX ? series->sample_count
                                          : pra__mem_sample_at(series, scan->end_ms + 1);
    if (from >= to)
        return PRA_OK;
    int matches = pra_query_matches(scan->query, series->labels, series->label_count);
    if (matches != 1)
        return matches; /* 0 is PRA_OK */
    return pra_series_sink_add(scan->sink, series->labels, series->label_count,
                               series->timestamps_ms + from, series->values + from, to - from,
                               scan->err);
}

static int emit_posting(const mem_scan *scan, const mem_posting *posting)
{
    int code = PRA_OK;
    for (size_t i = 0; code == PRA_OK && i < posting->count; i++)
        code = emit(scan, posting->series[i]);
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
           pra_matcher_matches(lookup->matcher, text) != 0; /* an error is met again by emit */
}

static int emit_lookup(const mem_scan *scan, const mem_tenant *tenant, const pra__lookup *lookup)
{
    const mem_name *name = pra__mem_name(tenant, lookup->name);
    if (!name)
        return PRA_OK;
    int code = PRA_OK;
    if (lookup->kind == PRA__LOOKUP_VALUES) {
        for (size_t i = 0; code == PRA_OK && i < lookup->value_count; i++) {
            const mem_value *value = pra__mem_value(name, lookup->values[i]);
            if (value)
                code = emit_posting(scan, &value->posting);
        }
        return code;
    }
    for (pra__node *n = NULL; code == PRA_OK && (n = pra__table_each(&name->values, n));)
        if (in_range(lookup, (const mem_value *)n))
            code = emit_posting(scan, &((const mem_value *)n)->posting);
    return code;
}

int pra__mem_query(const mem_tenant *tenant, const pra_query *query, pra_series_sink *sink,
                   pra_error *err)
{
    const mem_scan scan = {query, pra_query_start_ms(query), pra_query_end_ms(query), sink, err};
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
        return emit_posting(&scan, &tenant->all);
    pra__lookup_init(&lookup, best);
    return emit_lookup(&scan, tenant, &lookup);
}
