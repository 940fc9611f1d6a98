/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/write_result.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

void pra__write_result_init(pra_write_result *result, const pra_write_request *request)
{
    memset(result, 0, sizeof(*result));
    result->request = request;
}

int pra__write_result_any(const pra_write_result *result)
{
    return result->refusals > 0;
}

/* ── Text of one reason ── */

struct text {
    char *at;
    size_t room; /* without the closing NUL */
};

static void put(struct text *t, const char *ptr, size_t len)
{
    size_t n = len < t->room ? len : t->room;
    if (n)
        memcpy(t->at, ptr, n);
    t->at += n;
    t->room -= n;
    *t->at = 0;
}

static void put_cstr(struct text *t, const char *s)
{
    put(t, s, strlen(s));
}

/* At most 48 bytes; what is not printable ASCII, or would end a quoted string, is escaped. */
static void put_escaped(struct text *t, const char *ptr, size_t len)
{
    for (size_t i = 0; i < len && i < 48; i++) {
        char code[5];
        unsigned char c = (unsigned char)ptr[i];
        if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\') {
            put(t, ptr + i, 1);
        } else {
            (void)snprintf(code, sizeof(code), "\\x%02X", c);
            put_cstr(t, code);
        }
    }
    if (len > 48)
        put_cstr(t, "…");
}

static void put_series(struct text *t, const pra_series *series)
{
    const char *separator = "";
    put_cstr(t, " {");
    for (size_t i = 0; i < series->label_count; i++) {
        const pra_label_span *label = &series->labels[i];
        put_cstr(t, separator);
        put_escaped(t, series->base + label->name.off, label->name.len);
        put_cstr(t, "=\"");
        put_escaped(t, series->base + label->value.off, label->value.len);
        put_cstr(t, "\"");
        separator = ",";
    }
    put_cstr(t, "}");
}

/* series may be NULL. */
static void keep_reason(pra_write_result *result, pra_str reason, const pra_series *series)
{
    result->refusals++;
    if (result->reason_count == PRA__REASONS)
        return;
    char *line = result->reasons[result->reason_count++];
    struct text t = {line, PRA__REASON_BYTES - 1};
    put(&t, reason.ptr, reason.len);
    if (series)
        put_series(&t, series);
}

/* What it holds; nothing if it is no series of the request. */
static void count_data(pra_write_result *result, const pra_series *series)
{
    result->rejected[PRA_DATUM_SAMPLE] += series->sample_count;
    result->rejected[PRA_DATUM_HISTOGRAM] += series->histogram_count;
    result->rejected[PRA_DATUM_EXEMPLAR] += series->exemplars.count;
}

static void count_series(pra_write_result *result, const pra_series *series)
{
    result->rejected_series++;
    count_data(result, series);
}

void pra_write_result_reject(pra_write_result *result, int32_t kind, size_t series, size_t count,
                             pra_str reason)
{
    pra_columns columns = {.size = sizeof(columns)};
    pra_series view = {.size = sizeof(view)};
    int known = (kind == PRA_DATUM_SERIES || result->reason_count < PRA__REASONS) &&
                result->request && pra_write_request_columns(result->request, &columns) == PRA_OK &&
                pra_columns_series(&columns, series, &view) == PRA_OK;
    if (kind == PRA_DATUM_SERIES)
        count_series(result, &view);
    else
        result->rejected[kind < 0 || kind >= PRA__DATUM_KINDS ? PRA_DATUM_SAMPLE : kind] += count;
    keep_reason(result, reason, known ? &view : NULL);
}

void pra__write_result_reject_canonical(void *ctx, int32_t kind, const pra_series *series,
                                        size_t index, const pra_error *why)
{
    pra_write_result *result = ctx;
    (void)index;
    if (kind == PRA_DATUM_EXEMPLAR && result->ignores_exemplars)
        return;
    if (kind == PRA_DATUM_SERIES)
        count_series(result, series);
    else
        count_data(result, series);
    keep_reason(result, (pra_str){why->message, strlen(why->message)}, series);
}

/* All data of a kind. */
static void reject_column(pra_write_result *result, int32_t kind, const uint32_t *offsets,
                          size_t series_count, const char *reason_cstr)
{
    const pra_str reason = {reason_cstr, strlen(reason_cstr)};
    for (size_t i = 0; i < series_count; i++) {
        uint32_t count = offsets[i + 1] - offsets[i];
        if (count)
            pra_write_result_reject(result, kind, i, count, reason);
    }
}

void pra__write_result_reject_histograms(pra_write_result *result)
{
    pra_columns c = {.size = sizeof(c)};
    if (pra_write_request_columns(result->request, &c) == PRA_OK && c.histogram_count)
        reject_column(result, PRA_DATUM_HISTOGRAM, c.histogram_offsets, c.series_count,
                      "this storage does not keep native histograms");
}

void pra__write_result_reject_exemplars(pra_write_result *result)
{
    pra_columns c = {.size = sizeof(c)};
    if (pra_write_request_columns(result->request, &c) == PRA_OK && c.exemplar_count)
        reject_column(result, PRA_DATUM_EXEMPLAR, c.exemplar_offsets, c.series_count,
                      "this storage does not keep exemplars");
}

/* ── The answer's body ── */

static int append_counts(const pra_write_result *result, pra_buffer *out)
{
    static const char *const names[PRA__DATUM_KINDS] = {"samples", "histograms", "exemplars",
                                                        "metadata entries"};
    const char *separator = "refused: ";
    char part[64];
    int rc = PRA_OK;
    for (size_t kind = 0; kind < PRA__DATUM_KINDS && rc == PRA_OK; kind++) {
        if (result->rejected[kind] == 0)
            continue;
        int n = snprintf(part, sizeof(part), "%s%llu %s", separator,
                         (unsigned long long)result->rejected[kind], names[kind]);
        rc = pra_buffer_append(out, part, (size_t)n);
        separator = ", ";
    }
    if (rc == PRA_OK && result->rejected_series) {
        int n = snprintf(part, sizeof(part), "%s%llu whole series", separator,
                         (unsigned long long)result->rejected_series);
        rc = pra_buffer_append(out, part, (size_t)n);
    }
    return rc;
}

int pra__write_result_text(const pra_write_result *result, pra_buffer *out)
{
    char more[64];
    int rc = append_counts(result, out);
    for (size_t i = 0; i < result->reason_count && rc == PRA_OK; i++) {
        pra_error line = {0}; /* only to have the text made one clean line */
        pra_error_set_cstr(&line, PRA_ERR_REJECT, result->reasons[i]);
        rc = pra_buffer_append(out, i ? "; " : ": ", 2);
        if (rc == PRA_OK)
            rc = pra_buffer_append(out, line.message, strlen(line.message));
    }
    if (rc == PRA_OK && result->refusals > result->reason_count) {
        int n = snprintf(more, sizeof(more), "; and %llu more",
                         (unsigned long long)(result->refusals - result->reason_count));
        rc = pra_buffer_append(out, more, (size_t)n);
    }
    return rc;
}
