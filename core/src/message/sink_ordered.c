/* SPDX-License-Identifier: Apache-2.0 */
/* Series that a storage pushes in the order of the answer: no two of them have to wait for each
 * other. */
#include "base/error.h"
#include "message/series_sink.h"

/* Of the labels of a series in a message: two fit in. */
enum { SHOWN_BYTES = 72 };

void pra__series_sink_order(pra_series_sink *sink, size_t enough)
{
    sink->ordered = 1;
    sink->enough = enough;
}

static int out_of_order(pra_series_sink *sink, const struct pra__listed *last, int order,
                        pra_error *err)
{
    char before[SHOWN_BYTES], after[SHOWN_BYTES];
    pra__labels_text(before, sizeof(before), last->labels, last->label_count);
    pra__labels_text(after, sizeof(after), sink->set.items, sink->set.count);
    if (order == 0)
        pra__error(&sink->failure, PRA_ERR_CALLBACK, 0, "an ordered storage gave series %s twice",
                   after);
    else
        pra__error(&sink->failure, PRA_ERR_CALLBACK, 0,
                   "an ordered storage gave series %s behind %s, not in the order of labels", after,
                   before);
    return pra__sink_fail(sink, err);
}

int pra__sink_follow(pra_series_sink *sink, pra_error *err)
{
    pra_series_list *list = &sink->stream.list;
    const struct pra__label_set *set = &sink->set;
    if (list->count) {
        const struct pra__listed *last = &list->items[0];
        int order = pra__labels_compare(last->labels, last->label_count, set->items, set->count);
        if (order >= 0)
            return out_of_order(sink, last, order, err);
    }
    pra__series_list_start(list, sink->budget, NULL, 0);
    if (pra__series_list_keep(list, set->items, set->count, 0, err) == PRA_OK)
        return PRA_OK;
    sink->failure = list->failure;
    return pra__sink_fail(sink, err);
}

/* A storage that does not rest is bounded too. */
int pra__sink_ask_for_more(pra_series_sink *sink, pra_error *err)
{
    const size_t waiting = sink->stream.out->len;
    if (waiting > sink->budget->max_bytes)
        return pra__sink_fail_bytes(sink, err);
    return waiting < sink->enough ? PRA_OK : PRA_DONE;
}

int pra__series_sink_order_end(pra_series_sink *sink, int code, pra_error *err)
{
    if (sink->failure.code) /* even if the storage did not look at it */
        return pra__sink_fail(sink, err);
    if (code <= 0 ||
        (code == PRA_DONE && pra__sink_is_direct(sink) && sink->stream.out->len >= sink->enough))
        return code;
    return pra__error(err, PRA_ERR_CALLBACK, 0,
                      "process_query of the storage returned %d where the sink had not enough",
                      code);
}
