/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/select.h"

#include "base/error.h"

int pra__select(const pra_exchange *x, const pra_query *query, pra_series_list *list,
                pra_error *err)
{
    const pra_handler *h = x->handler;
    int rc = h->vtbl.select(h->self, &x->context, query, list, err);
    if (rc == PRA_OK && list->failure.code) { /* the storage went on without what was refused */
        *err = list->failure;
        rc = err->code;
    }
    if (rc > 0)
        rc = pra__error(err, PRA_ERR_CALLBACK, 0, "select of the storage returned %d", rc);
    if (rc == PRA_OK)
        pra__series_list_sort(list);
    return rc;
}

int pra__fetch(const pra_exchange *x, const pra_query *query, uint64_t id, int64_t from_ms,
               pra_series_sink *sink, pra_error *err)
{
    const pra_handler *h = x->handler;
    pra__series_sink_feed(sink, from_ms);
    int rc = h->vtbl.fetch(h->self, &x->context, query, id, from_ms, sink, err);
    return pra__series_sink_feed_end(sink, rc, err);
}

static int fetch_whole(const pra_exchange *x, const pra_query *query,
                       const struct pra__listed *series, pra_series_sink *sink, pra_error *err)
{
    int rc = pra__series_sink_open(sink, series->labels, series->label_count, err);
    if (rc == PRA_OK)
        rc = pra__fetch(x, query, series->id, pra_query_start_ms(query), sink, err);
    return rc ? rc : pra_series_sink_end(sink, err);
}

int pra__select_and_fetch(pra_exchange *x, const pra_query *query, pra_series_list *list,
                          pra_series_sink *sink, pra_error *err)
{
    pra__series_list_start(list, &x->read_budget, sink->external, sink->external_count);
    int rc = pra__select(x, query, list, err);
    for (size_t i = 0; i < list->count && rc == PRA_OK; i++)
        rc = fetch_whole(x, query, &list->items[i], sink, err);
    pra__series_list_trim(list, SIZE_MAX);
    return rc;
}
