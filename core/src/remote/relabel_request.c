/* SPDX-License-Identifier: Apache-2.0 */
/* Relabelling from columns to columns: all text is taken over at once, and what rules make is added
 * to it. */
#include <stdio.h>

#include "base/error.h"
#include "base/str.h"
#include "message/write_copy.h"
#include "remote/relabel.h"

enum { MOST_SLOTS = 4096 };

struct work {
    struct pra__relabeller r;
    struct pra__copier k;
    size_t series;
    uint64_t dropped;
};

static int load(struct work *w)
{
    const pra_columns *c = w->k.from;
    const size_t start = c->label_offsets[w->series];
    const size_t count = c->label_offsets[w->series + 1] - start;
    return pra__relabeller_load(&w->r, c->base, count ? c->labels + start : NULL, count);
}

static size_t made(const struct work *w, pra_str s)
{
    return (uintptr_t)s.ptr - (uintptr_t)w->k.from->base < w->k.from->base_len ? 0 : s.len;
}

/* Text that is made for one series and used for many is counted as often as it is used. */
static int store_changed(struct work *w)
{
    struct pra__relabeller *r = &w->r;
    size_t bytes = 0;
    for (size_t i = 0; i < r->count; i++)
        bytes += made(w, r->labels[i].name) + made(w, r->labels[i].value);
    if (bytes > r->left)
        return PRA_ERR_MEMORY_BUDGET;
    r->left -= bytes;
    int rc = pra__copy_begin(&w->k, w->series, r->count, bytes);
    if (rc)
        return rc;
    for (size_t i = 0; i < r->count; i++)
        pra__copy_label(&w->k, r->labels[i].name, r->labels[i].value);
    pra__copy_end(&w->k);
    return PRA_OK;
}

static int store(struct work *w)
{
    if (w->r.changed)
        return store_changed(w);
    int rc = pra__copy_begin(&w->k, w->series, w->r.count, 0);
    if (rc)
        return rc;
    pra__copy_own_labels(&w->k, w->series);
    pra__copy_end(&w->k);
    return PRA_OK;
}

static int relabel_all(struct work *w)
{
    static const pra_str metric_name = {"__name__", 8};
    int rc = w->k.from->base_len ? pra__copy_text(&w->k) : PRA_OK;
    for (w->series = 0; rc == PRA_OK && w->series < w->k.from->series_count; w->series++) {
        rc = load(w);
        if (rc == PRA_OK)
            rc = pra__relabeller_apply(&w->r);
        if (rc == PRA_OK && pra__relabeller_get(&w->r, metric_name).len == 0)
            rc = PRA_DONE;
        if (rc == PRA_DONE) {
            w->dropped++;
            rc = PRA_OK;
            continue;
        }
        if (rc == PRA_OK)
            rc = store(w);
        if (rc)
            break;
    }
    if (rc == PRA_OK)
        rc = pra__copy_flush(&w->k);
    return rc ? rc : pra__copy_families(&w->k);
}

static size_t slots_for(const pra_relabel *relabel, size_t series)
{
    size_t rules = 0, slots = 64;
    for (size_t i = 0; i < relabel->count; i++)
        rules += relabel->rules[i].remembered != 0;
    if (rules == 0 || series < 2)
        return 0;
    while (slots < MOST_SLOTS && slots / 2 < series)
        slots *= 2;
    return slots;
}

static int run(struct work *w, const pra_relabel *relabel, pra_error *err)
{
    pra_write_request *out = w->k.to;
    struct pra__write_mark mark;
    char where[48];
    pra__write_mark(out, &mark);
    int rc = pra__relabeller_init(&w->r, relabel, &out->scratch,
                                  slots_for(relabel, w->k.from->series_count));
    if (rc == PRA_OK)
        rc = relabel_all(w);
    if (rc) {
        pra__write_back(out, &mark);
        (void)snprintf(where, sizeof(where), "series %zu: ", w->series);
        rc = pra__relabeller_explain(&w->r, rc, where, err);
    }
    pra__arena_trim(&out->scratch, out->retain);
    return rc;
}

int pra_write_request_relabel(const pra_write_request *req, const pra_relabel *relabel,
                              pra_write_request *out, uint64_t *out_dropped, pra_error *err)
{
    pra_columns from = {.size = sizeof(from)};
    if (!req || !relabel || !out || req == out)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG,
                                  "request, rules or another request to add to are missing");
    int rc = pra_write_request_columns(req, &from);
    if (rc == PRA_OK)
        rc = pra__write_request_open(out);
    if (rc)
        return pra_error_set_cstr(err, rc,
                                  "the request is in use by a callback, or the one to add to is "
                                  "decoded or shared: reset it, or take a new one");
    if (!from.base)
        from.base = ""; /* no text: every string is empty */
    struct work w = {.k = {.to = out, .from = &from}};
    rc = run(&w, relabel, err);
    if (rc == PRA_OK && out_dropped)
        *out_dropped = w.dropped;
    return rc;
}
