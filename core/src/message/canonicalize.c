/* SPDX-License-Identifier: Apache-2.0 */
/* pra_write_request_canonicalize. Each series is first looked at, which may mend it in place;
 * columns move only from the first series on of which something is taken out. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "message/canonical_labels.h"
#include "message/histogram_check.h"
#include "message/histogram_reduce.h"
#include "message/keep.h"
#include "message/write_request.h"

/* A request may hold millions of faults: from then on they are named by their code only. */
enum { TOLD_IN_FULL = 100 };

static const int32_t codes[] = {PRA_ERR_LABELS, PRA_ERR_HISTOGRAM, PRA_ERR_SYMBOLS, PRA_ERR_SERIES,
                                PRA_ERR_EXEMPLAR};
enum { CODES = sizeof(codes) / sizeof(codes[0]) };

struct canon {
    pra_write_request *req;
    struct pra__columns *c;
    pra_columns view; /* as decoded; of the same memory as the columns */
    struct pra__texts texts;
    struct pra__kept kept;
    int is_v2;
    int strict;
    int has_data_to_check;
    int has_empty_symbol; /* number 0, as has to be [W-33] */
    const struct pra__fault *fault, *fault_end;
    const pra_label_span *model; /* labels of a series of 2.0 that are canonical */
    size_t model_count;
    void (*on_reject)(void *ctx, int32_t kind, const pra_series *series, size_t index,
                      const pra_error *why);
    void *ctx;
    int64_t rejected;
    pra_error brief[CODES]; /* filled when needed */
};

/* ---- telling the caller */

/* Where reasons go: NULL if nobody will see them in full. */
static pra_error *reason(const struct canon *s, pra_error *why)
{
    return s->on_reject && s->rejected < TOLD_IN_FULL ? why : NULL;
}

static const pra_error *brief(struct canon *s, int code)
{
    size_t i = 0;
    while (codes[i] != code)
        i++;
    if (s->brief[i].code == PRA_OK)
        pra_error_set_cstr(&s->brief[i], code, pra_strerror(code));
    return &s->brief[i];
}

/* what: as reason gave it, or NULL. */
static void tell(struct canon *s, int32_t kind, const pra_series *series, size_t index, int code,
                 const pra_error *what)
{
    s->rejected++;
    if (!s->on_reject)
        return;
    s->req->busy = 1;
    s->on_reject(s->ctx, kind, series, index, what ? what : brief(s, code));
    s->req->busy = 0;
}

static void tell_series(struct canon *s, size_t index, int code, const pra_error *what)
{
    pra_series series = {.size = sizeof(series)};
    pra_error why;
    (void)pra_columns_series(&s->view, index, &series);
    if (what)
        (void)pra__error(&why, code, what->offset, "series %zu: %s", index, what->message);
    tell(s, PRA_DATUM_SERIES, &series, index, code, what ? &why : NULL);
}

/* series: its labels, and the one datum. */
static void tell_datum(struct canon *s, int32_t kind, const pra_series *series, size_t index,
                       int64_t timestamp_ms, int code, const pra_error *what)
{
    pra_error why;
    if (what)
        (void)pra__error(&why, code, what->offset, "series %zu, %s at %" PRId64 " ms: %s", index,
                         kind == PRA_DATUM_HISTOGRAM ? "histogram" : "exemplar", timestamp_ms,
                         what->message);
    tell(s, kind, series, index, code, what ? &why : NULL);
}

/* ---- references that name no symbol */

static const struct pra__fault *fault_of(struct canon *s, size_t index, uint32_t datum)
{
    while (s->fault < s->fault_end && s->fault->series < index)
        s->fault++;
    for (const struct pra__fault *f = s->fault; f < s->fault_end && f->series == index; f++)
        if (f->datum == datum)
            return f;
    return NULL;
}

static int explain_fault(const struct canon *s, const struct pra__fault *fault, pra_error *why)
{
    const char *what = fault->what == PRA__FAULT_HELP_REF   ? "help_ref"
                       : fault->what == PRA__FAULT_UNIT_REF ? "unit_ref"
                                                            : "label reference";
    if (fault->what == PRA__FAULT_ODD_REFS)
        return pra__error(why, PRA_ERR_SYMBOLS, 0,
                          "%" PRIu32 " label references are no pairs of name and value",
                          fault->ref);
    return pra__error(why, PRA_ERR_SYMBOLS, 0, "%s %" PRIu32 " is beyond the %zu symbols sent",
                      what, fault->ref, s->view.symbol_count);
}

/* ---- exemplars */

static struct pra__label_set exemplar_labels(const struct canon *s, uint32_t exemplar)
{
    const uint32_t *offsets = PRA__COLUMN(uint32_t, s->c, PRA__COL_EXEMPLAR_LABEL_OFFSETS);
    struct pra__label_set set = {.count = offsets[exemplar + 1] - offsets[exemplar]};
    if (set.count)
        set.labels =
            PRA__COLUMN(pra_label_span, s->c, PRA__COL_EXEMPLAR_LABELS) + offsets[exemplar];
    return set;
}

static int has_timestamp(const struct canon *s, uint32_t exemplar)
{
    return !s->is_v2 || s->view.exemplar_timestamps_ms[exemplar] != 0;
}

static int exemplars_are_canonical(struct canon *s, pra_range range)
{
    for (uint32_t i = range.start; i < range.start + range.count; i++) {
        struct pra__label_set set = exemplar_labels(s, i);
        if (!has_timestamp(s, i) || !pra__labels_are_canonical(&s->texts, set.labels, set.count, 0))
            return 0;
    }
    return 1;
}

/* Faults of exemplars stand in the order of these. */
static int judge_exemplar(struct canon *s, size_t index, uint32_t exemplar,
                          struct pra__label_set *set, pra_error *why)
{
    while (s->fault < s->fault_end && s->fault->series == index && s->fault->datum < exemplar)
        s->fault++;
    if (s->fault < s->fault_end && s->fault->series == index && s->fault->datum == exemplar)
        return explain_fault(s, s->fault, why);
    if (!has_timestamp(s, exemplar))
        return pra__error(why, PRA_ERR_EXEMPLAR, 0, "an exemplar needs a timestamp");
    if (pra__labels_are_canonical(&s->texts, set->labels, set->count, 0))
        return PRA_OK;
    return pra__labels_make_canonical(&s->texts, set, s->strict, why);
}

static void keep_exemplars(struct canon *s, size_t index, const pra_series *labels, pra_range range)
{
    for (uint32_t i = range.start; i < range.start + range.count; i++) {
        struct pra__label_set set = exemplar_labels(s, i);
        pra_error why, *told = reason(s, &why);
        int rc = judge_exemplar(s, index, i, &set, told);
        if (rc == PRA_OK) {
            pra__keep_exemplar(s->c, &s->kept, i, (uint32_t)set.count);
            continue;
        }
        pra_series series = *labels;
        series.exemplars = (pra_range){i, 1};
        tell_datum(s, PRA_DATUM_EXEMPLAR, &series, index, s->view.exemplar_timestamps_ms[i], rc,
                   told);
    }
}

/* ---- histograms */

/* Nothing in a stale histogram means anything but its time, and whether it is a float one: one with
 * nothing in it is valid whatever the sender left there [W-43]. */
static void strip(pra_histogram *h)
{
    pra_histogram all = *h;
    memset(h, 0, sizeof(*h));
    h->timestamp_ms = all.timestamp_ms;
    h->start_timestamp_ms = all.start_timestamp_ms;
    memcpy(&h->sum, &all.sum, sizeof(h->sum));
    if (all.flags & PRA_HISTOGRAM_FLOAT)
        h->flags = PRA_HISTOGRAM_FLOAT | PRA_HISTOGRAM_ZERO_FLOAT;
    for (int i = 0; i < PRA__BUCKET_COLUMNS; i++) /* where they start is needed while moving */
        pra__bucket_range(h, i)->start = pra__bucket_range(&all, i)->start;
}

/* What Prometheus does not look at is not kept: buckets and a zero count of the other kind than
 * count [W-47]. */
static void drop_other_kind(pra_histogram *h)
{
    const int is_float = (h->flags & PRA_HISTOGRAM_FLOAT) != 0;
    if (is_float != ((h->flags & PRA_HISTOGRAM_ZERO_FLOAT) != 0)) {
        h->flags ^= PRA_HISTOGRAM_ZERO_FLOAT;
        h->zero_count_bits = 0;
    }
    if (is_float)
        h->positive_deltas.count = h->negative_deltas.count = 0;
    else
        h->positive_counts.count = h->negative_counts.count = 0;
}

/* Mends what is to be mended in place; twice is once. */
static int judge_histogram(struct canon *s, uint32_t histogram, pra_error *why)
{
    pra_histogram *h = PRA__COLUMN(pra_histogram, s->c, PRA__COL_HISTOGRAMS) + histogram;
    if (pra_histogram_is_stale(h)) {
        strip(h);
        return PRA_OK;
    }
    drop_other_kind(h);
    if (h->schema > PRA__SCHEMA_MAX && h->schema <= PRA__SCHEMA_MAX_REDUCIBLE) {
        int rc = pra__histogram_reduce(s->c, h, why);
        if (rc)
            return rc;
    }
    return pra__histogram_check(&s->view, h, why);
}

static int histograms_are_valid(struct canon *s, pra_range range)
{
    int valid = 1;
    for (uint32_t i = range.start; i < range.start + range.count && valid; i++)
        valid = judge_histogram(s, i, NULL) == PRA_OK;
    return valid;
}

static void keep_histograms(struct canon *s, size_t index, const pra_series *labels,
                            pra_range range)
{
    for (uint32_t i = range.start; i < range.start + range.count; i++) {
        pra_error why, *told = reason(s, &why);
        int rc = judge_histogram(s, i, told);
        if (rc == PRA_OK) {
            pra__keep_histogram(s->c, &s->kept, i);
            continue;
        }
        pra_series series = *labels;
        series.histograms = &s->view.histograms[i];
        series.histogram_count = 1;
        tell_datum(s, PRA_DATUM_HISTOGRAM, &series, index, series.histograms->timestamp_ms, rc,
                   told);
    }
}

/* ---- a series as a whole */

static struct pra__label_set series_labels(const struct canon *s, size_t index)
{
    const uint32_t first = s->view.label_offsets[index];
    struct pra__label_set set = {.count = s->view.label_offsets[index + 1] - first,
                                 .needs_metric_name = 1};
    if (set.count)
        set.labels = PRA__COLUMN(pra_label_span, s->c, PRA__COL_LABELS) + first;
    if (set.count && s->view.label_refs)
        set.refs = PRA__COLUMN(pra_symbol_refs, s->c, PRA__COL_LABEL_REFS) + first;
    return set;
}

/* What a series of version 2.0 must hold [W-35]; the symbols are everyone's [W-33]. */
static int check_content(const struct canon *s, const struct pra__owned *o, pra_error *why)
{
    if (!s->is_v2)
        return PRA_OK;
    if (!o->samples.count && !o->histograms.count && !o->exemplars.count)
        return pra__error(why, PRA_ERR_SERIES, 0, "no samples and no histograms");
    if (!s->strict)
        return PRA_OK;
    if (!o->samples.count && !o->histograms.count)
        return pra__error(why, PRA_ERR_SERIES, 0, "exemplars without samples or histograms");
    if (o->samples.count && o->histograms.count)
        return pra__error(why, PRA_ERR_SERIES, 0, "samples and histograms in one series");
    if (!s->has_empty_symbol)
        return pra__error(why, PRA_ERR_SYMBOLS, 0, "the first symbol sent is not empty");
    return PRA_OK;
}

static int data_are_canonical(struct canon *s, size_t index, const struct pra__owned *o)
{
    while (s->fault < s->fault_end && s->fault->series < index)
        s->fault++;
    if (s->fault < s->fault_end && s->fault->series == index)
        return 0;
    return exemplars_are_canonical(s, o->exemplars) && histograms_are_valid(s, o->histograms);
}

static int judge_series(struct canon *s, size_t index, const struct pra__owned *o,
                        struct pra__label_set *set, pra_error *why)
{
    const struct pra__fault *fault = fault_of(s, index, UINT32_MAX);
    if (fault)
        return explain_fault(s, fault, why);
    int rc = check_content(s, o, why);
    if (rc || pra__labels_are_canonical(&s->texts, set->labels, set->count, 1))
        return rc;
    return pra__labels_make_canonical(&s->texts, set, s->strict, why);
}

static void keep_all(struct canon *s, const struct pra__owned *o, size_t label_count)
{
    pra__keep_series(s->c, &s->kept, o, label_count);
    for (uint32_t i = 0; i < o->exemplars.count; i++) {
        struct pra__label_set set = exemplar_labels(s, o->exemplars.start + i);
        pra__keep_exemplar(s->c, &s->kept, o->exemplars.start + i, (uint32_t)set.count);
    }
    for (uint32_t i = 0; i < o->histograms.count; i++)
        pra__keep_histogram(s->c, &s->kept, o->histograms.start + i);
}

static void keep_as_it_is(struct canon *s, size_t index)
{
    const struct pra__owned owned = pra__owned_by(&s->view, index);
    keep_all(s, &owned, owned.labels.count);
    pra__keep_metadata(s->c, &s->kept, index, 1);
}

/* Keeps what is good of a series. Returns 0 if that is nothing, though there was something. */
static int keep_good(struct canon *s, size_t index, const struct pra__owned *o, size_t label_count)
{
    const struct pra__kept before = s->kept;
    pra__keep_series(s->c, &s->kept, o, label_count);
    pra_series labels = {.size = sizeof(labels), .base = s->view.base};
    labels.label_count = label_count;
    if (label_count)
        labels.labels =
            PRA__COLUMN(pra_label_span, s->c, PRA__COL_LABELS) + before.len[PRA__COL_LABELS];
    keep_exemplars(s, index, &labels, o->exemplars);
    keep_histograms(s, index, &labels, o->histograms);
    const int some =
        o->samples.count || s->kept.len[PRA__COL_HISTOGRAMS] != before.len[PRA__COL_HISTOGRAMS] ||
        s->kept.len[PRA__COL_EXEMPLAR_TIMESTAMPS] != before.len[PRA__COL_EXEMPLAR_TIMESTAMPS];
    if (!some)
        s->kept = before;
    return some;
}

static void move(struct canon *s, size_t index)
{
    if (!s->kept.moving)
        pra__keep_all_before(s->c, &s->kept, &s->view, index);
}

/* A series of which something may have to be changed. */
static void settle(struct canon *s, size_t index)
{
    const struct pra__owned owned = pra__owned_by(&s->view, index), *o = &owned;
    struct pra__label_set set = series_labels(s, index);
    const size_t count = set.count;
    pra_error why, *told = reason(s, &why);
    int kept = 0;
    int rc = judge_series(s, index, o, &set, told);
    if (rc) {
        move(s, index);
        tell_series(s, index, rc, told);
    } else {
        const int good = !s->has_data_to_check || data_are_canonical(s, index, o);
        if (!good || set.count != count)
            move(s, index);
        if (!s->kept.moving)
            return;
        if (good)
            keep_all(s, o, set.count);
        kept = good || keep_good(s, index, o, set.count);
    }
    pra__keep_metadata(s->c, &s->kept, index, kept);
}

static int content_is_canonical(struct canon *s, size_t index)
{
    const struct pra__owned owned = pra__owned_by(&s->view, index);
    return check_content(s, &owned, NULL) == PRA_OK && data_are_canonical(s, index, &owned);
}

/* Series that follow each other often have the same names in the same order, which then are the
 * same symbols: so are they canonical, if the values are not empty. */
static int is_like_model(const struct canon *s, const pra_label_span *labels, size_t count)
{
    if (count != s->model_count)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (labels[i].name.off != s->model[i].name.off || labels[i].value.len == 0)
            return 0;
    return 1;
}

/* Once labels move, a model would be written over. */
static int labels_look_canonical_v2(struct canon *s, const pra_label_span *labels, size_t count)
{
    if (!s->texts.all_utf8 || s->kept.moving)
        return pra__labels_are_canonical(&s->texts, labels, count, 1);
    if (s->model && is_like_model(s, labels, count))
        return 1;
    const int canonical = pra__labels_are_canonical(&s->texts, labels, count, 1);
    if (canonical) {
        s->model = labels;
        s->model_count = count;
    }
    return canonical;
}

/* Where most series of most requests end. */
static inline int looks_canonical(struct canon *s, size_t index)
{
    const uint32_t first = s->view.label_offsets[index];
    const size_t count = s->view.label_offsets[index + 1] - first;
    const pra_label_span *labels = s->view.labels + first;
    if (!s->has_data_to_check)
        return pra__labels_are_canonical(&s->texts, labels, count, 1);
    if (!(s->is_v2 ? labels_look_canonical_v2(s, labels, count)
                   : pra__labels_are_canonical(&s->texts, labels, count, 1)))
        return 0;
    return content_is_canonical(s, index);
}

/* ---- the whole */

static void canonicalize(struct canon *s)
{
    for (size_t i = 0; i < s->view.series_count; i++) {
        if (!looks_canonical(s, i))
            settle(s, i);
        else if (s->kept.moving)
            keep_as_it_is(s, i);
    }
    if (s->kept.moving)
        pra__keep_end(s->c, &s->kept);
}

static void look_at_message(struct canon *s)
{
    static const pra_label_span no_label; /* to point at */
    const size_t faults = s->c->col[PRA__COL_FAULTS].len;
    s->view.size = sizeof(s->view);
    (void)pra__columns_view(s->c, &s->view);
    if (!s->view.base)
        s->view.base = "";
    if (!s->view.labels)
        s->view.labels = &no_label;
    s->is_v2 = s->req->version == PRA_WRITE_V2;
    s->fault = s->fault_end = PRA__COLUMN(struct pra__fault, s->c, PRA__COL_FAULTS);
    if (faults)
        s->fault_end += faults;
    s->has_empty_symbol = s->view.symbol_count && s->view.symbols[0].len == 0;
    s->has_data_to_check = s->is_v2 || s->view.exemplar_count || s->view.histogram_count || faults;
    pra__texts_init(&s->texts, s->c, &s->view);
}

int64_t pra_write_request_canonicalize(pra_write_request *req, uint32_t flags,
                                       void (*on_reject)(void *ctx, int32_t kind,
                                                         const pra_series *series, size_t index,
                                                         const pra_error *why),
                                       void *ctx)
{
    struct canon s = {.req = req, .on_reject = on_reject, .ctx = ctx};
    if (!req || flags & ~(uint32_t)PRA_CANONICAL_STRICT)
        return PRA_ERR_INVALID_ARG;
    if (pra__write_request_check_own(req))
        return PRA_ERR_BUSY;
    s.c = &req->cols;
    s.strict = (flags & PRA_CANONICAL_STRICT) != 0;
    look_at_message(&s);
    canonicalize(&s);
    pra__texts_fini(&s.texts);
    req->cols.col[PRA__COL_FAULTS].len = 0;
    return s.rejected;
}
