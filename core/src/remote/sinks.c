/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "remote/exchange.h"
#include "remote/select.h"

static int grow(pra_exchange *x, size_t count)
{
    pra_series_sink **sinks =
        pra__realloc(&x->alloc, x->sinks, x->sink_cap * sizeof(*sinks), count * sizeof(*sinks));
    if (!sinks)
        return PRA_ERR_NOMEM;
    memset(sinks + x->sink_cap, 0, (count - x->sink_cap) * sizeof(*sinks));
    x->sinks = sinks;
    x->sink_cap = count;
    return PRA_OK;
}

int pra__sinks_prepare(pra_exchange *x)
{
    size_t count = pra_read_request_query_count(x->read);
    pra__read_budget_init(&x->read_budget, &x->handler->limits);
    x->read_budget.cancelled = x->context.cancelled;
    x->read_budget.host = x->context.host;
    if (count > x->sink_cap && grow(x, count))
        return pra__nomem(&x->error);
    for (size_t i = 0; i < count; i++) {
        const pra_query *query = pra_read_request_query(x->read, i);
        if (!x->sinks[i] && pra__series_sink_make(&x->alloc, &x->sinks[i]))
            return pra__nomem(&x->error);
        pra__series_sink_start(x->sinks[i], pra_query_start_ms(query), pra_query_end_ms(query),
                               &x->read_budget, x->handler->external_labels,
                               x->handler->external_label_count);
        if (x->version == PRA_RESPONSE_STREAMED_XOR_CHUNKS)
            pra__series_sink_stream(x->sinks[i], (int64_t)i, NULL);
    }
    x->sink_count = count;
    return PRA_OK;
}

void pra__sinks_trim(pra_exchange *x, size_t retain)
{
    for (size_t i = 0; i < x->sink_cap; i++) {
        size_t held = 0;
        if (x->sinks[i]) {
            pra__series_sink_clear(x->sinks[i]);
            held = pra__series_sink_memory(x->sinks[i]);
        }
        if (held <= retain) {
            retain -= held;
        } else {
            pra_series_sink_free(x->sinks[i]);
            x->sinks[i] = NULL;
        }
    }
    x->sink_count = 0;
}

void pra__sinks_free(pra_exchange *x)
{
    for (size_t i = 0; i < x->sink_cap; i++)
        pra_series_sink_free(x->sinks[i]);
    pra__free(&x->alloc, x->sinks, x->sink_cap * sizeof(pra_series_sink *));
}

/* ── The default `read`: every query by itself ── */

struct outcome {
    int code;
    pra_error err;
};

struct fan_out {
    pra_exchange *x;
    struct outcome *outcomes; /* one a query */
};

static int process_ordered(pra_exchange *x, const pra_query *query, pra_series_sink *sink,
                           pra_error *err)
{
    const pra_handler *h = x->handler;
    pra__series_sink_order(sink, 0);
    int rc = h->vtbl.process_query(h->self, &x->context, query, sink, err);
    return pra__series_sink_order_end(sink, rc, err);
}

static int ask(pra_exchange *x, const pra_query *query, pra_series_list *list,
               pra_series_sink *sink, pra_error *err)
{
    const pra_handler *h = x->handler;
    int rc = pra__budget_check_wanted(&x->read_budget, err);
    if (rc || pra_query_start_ms(query) > pra_query_end_ms(query))
        return rc; /* or nothing is in it */
    if (h->vtbl.select)
        return pra__select_and_fetch(x, query, list, sink, err);
    if (pra__storage_is_ordered(h))
        return process_ordered(x, query, sink, err);
    return h->vtbl.process_query(h->self, &x->context, query, sink, err);
}

static int process(pra_exchange *x, size_t index, pra_series_list *list, pra_error *err)
{
    int rc = ask(x, pra_read_request_query(x->read, index), list, x->sinks[index], err);
    pra__query_over(x, index);
    return rc;
}

static void one_query(void *arg, size_t index)
{
    const struct fan_out *f = arg;
    struct outcome *o = &f->outcomes[index];
    pra_series_list list;
    pra__series_list_init(&list, &f->x->alloc);
    o->code = process(f->x, index, &list, &o->err);
    pra__series_list_fini(&list);
}

static int fill_in_parallel(pra_exchange *x)
{
    struct fan_out f = {x, pra_arena_alloc(&x->arena, x->sink_count * sizeof(struct outcome), 8)};
    if (!f.outcomes)
        return pra__nomem(&x->error);
    memset(f.outcomes, 0, x->sink_count * sizeof(struct outcome));
    const pra_executor *executor = &x->handler->executor;
    if (executor->parallel_for(executor->ctx, x->sink_count, one_query, &f))
        return pra_error_set_cstr(&x->error, PRA_ERR_RETRY, "no threads for the queries now");
    for (size_t i = 0; i < x->sink_count; i++) {
        if (f.outcomes[i].code) {
            x->error = f.outcomes[i].err;
            return f.outcomes[i].code;
        }
    }
    return PRA_OK;
}

static int fill_in_turn(pra_exchange *x)
{
    int rc = PRA_OK;
    for (size_t i = 0; i < x->sink_count && rc == PRA_OK; i++)
        rc = process(x, i, &x->stream.list, &x->error);
    return rc;
}

int pra__sinks_fill(pra_exchange *x)
{
    const pra_handler *h = x->handler;
    if (h->vtbl.read && !h->vtbl.select) {
        int rc = h->vtbl.read(h->self, &x->context, x->read, x->sinks, &x->error);
        pra__queries_over(x);
        return rc;
    }
    if (!h->vtbl.process_query && !h->vtbl.select)
        return pra_error_set_cstr(&x->error, PRA_ERR_NOT_SUPPORTED, "this storage takes no reads");
    int parallel = x->sink_count > 1 && h->executor.parallel_for &&
                   (h->vtbl.flags & PRA_STORAGE_PARALLEL_QUERIES);
    return parallel ? fill_in_parallel(x) : fill_in_turn(x);
}
