/* SPDX-License-Identifier: Apache-2.0 */
/* pra_write_request_canonicalize beyond labels: what of a series is refused, and what is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/canonical.h"
#include "support/failing_alloc.h"
#include "support/message_gen.h"
#include "unit/write_fixture.h"

/* ---- messages of version 2.0, written by hand */

static const char *const symbols[] = {"",  "__name__", "m",  "b",    "1",    "a",
                                      "2", "trace_id", "xy", "\xff", "help", "unit"};
enum { EMPTY, NAME, M, B, ONE, A, TWO, TRACE, XY, BAD, HELP, UNIT, SYMBOLS };

static void put_symbols(struct text *t)
{
    for (size_t i = 0; i < SYMBOLS; i++)
        put_field(t, 0x22, symbols[i], strlen(symbols[i]));
}

/* references, ended by -1 */
static void put_refs(struct text *t, const int *refs)
{
    struct text packed = {0};
    text_bytes(&packed, "", 0);
    for (; *refs >= 0; refs++)
        put_varint(&packed, (uint64_t)*refs);
    put_field(t, 0x0a, packed.data, packed.len);
    text_free(&packed);
}

static void put_sample(struct text *t)
{
    put_field(t, 0x12, "\x09\0\0\0\0\0\0\xf0\x3f\x10\x05\x18\x07", 13);
}

static void put_exemplar(struct text *t, const int *refs, unsigned timestamp)
{
    struct text e = {0};
    put_refs(&e, refs);
    text_bytes(&e, "\x18", 1);
    put_varint(&e, timestamp);
    put_field(t, 0x22, e.data, e.len);
    text_free(&e);
}

/* One bucket with this many observations, and a count of as many as said. */
static void put_histogram(struct text *t, unsigned bucket, unsigned count, unsigned timestamp)
{
    struct text h = {0};
    text_bytes(&h, "\x08", 1);
    put_varint(&h, count);
    put_field(&h, 0x5a, "\x08\x02\x10\x01", 4);
    text_bytes(&h, "\x60", 1);
    put_varint(&h, 2 * bucket);
    text_bytes(&h, "\x78", 1);
    put_varint(&h, timestamp);
    put_field(t, 0x1a, h.data, h.len);
    text_free(&h);
}

static void put_metadata(struct text *t, unsigned help, unsigned unit)
{
    struct text m = {0};
    text_bytes(&m, "\x08\x02\x18", 3);
    put_varint(&m, help);
    text_bytes(&m, "\x20", 1);
    put_varint(&m, unit);
    put_field(t, 0x2a, m.data, m.len);
    text_free(&m);
}

/* Ends a series. */
static void put_series(struct text *t, struct text *series)
{
    put_field(t, 0x2a, series->data, series->len);
    text_free(series);
    *series = (struct text){0};
}

static const int good[] = {NAME, M, B, ONE, -1};

struct told {
    struct text text;
    int64_t calls;
    uint64_t samples, histograms, exemplars; /* held by what was handed over */
};

static void on_reject(void *ctx, int32_t kind, const pra_series *series, size_t index,
                      const pra_error *why)
{
    static const char *const kinds[] = {"sample", "histogram", "exemplar", "metadata", "series"};
    struct told *told = ctx;
    told->calls++;
    told->samples += series->sample_count;
    told->histograms += series->histogram_count;
    told->exemplars += series->exemplars.count;
    assert_int_equal(why->http_status, 400);
    assert_true(kind == PRA_DATUM_SERIES ||
                series->sample_count + series->histogram_count + series->exemplars.count == 1);
    text_printf(&told->text, "%s %zu %s: %s\n", kinds[kind], index, pra_error_name(why->code),
                why->message);
}

static pra_columns columns_of(const pra_write_request *req)
{
    pra_columns c = {.size = sizeof(c)};
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    return c;
}

/* Decodes, makes canonical, checks what must hold. Frees the message. The caller frees told. */
static pra_write_request *canonical(struct text *t, int32_t version, uint32_t flags,
                                    struct told *told)
{
    pra_write_request *req = new_request(NULL);
    pra_error err = {0};
    *told = (struct told){0};
    text_bytes(&told->text, "", 0);
    pra_buffer *out;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_snappy_compress(t->data, t->len, out, NULL), PRA_OK);
    if (pra_write_request_decode_snappy(req, version, pra_buffer_data(out), pra_buffer_len(out),
                                        NULL, &err))
        fail_msg("%s", err.message);
    pra_buffer_free(out);
    const int64_t rejected = pra_write_request_canonicalize(req, flags, on_reject, told);
    assert_int_equal(rejected, told->calls);
    pra_columns c = columns_of(req);
    const char *fault = canonical_fault(&c, version);
    if (fault)
        fail_msg("%s", fault);
    /* Not strictly: a series may have lost its only histogram. */
    assert_int_equal(pra_write_request_canonicalize(req, 0, NULL, NULL), 0);
    text_free(t);
    *t = (struct text){0};
    return req;
}

/* ---- each rule alone: one series */

struct row {
    int labels[8];
    int exemplar[8]; /* begins with -2: none */
    unsigned exemplar_timestamp;
    int samples;
    int histograms; /* valid ones; negative: invalid ones */
    int metadata[2];
    const char *told; /* lenient */
    const char *strict;
    int kept; /* series, lenient */
};

#define NO_EXEMPLAR {-2}, 0
#define META                                                                                       \
    {                                                                                              \
        EMPTY, EMPTY                                                                               \
    }

static const struct row rows[] = {
    /* [W-33] references */
    {{NAME, M, -1}, NO_EXEMPLAR, 1, 0, META, "", "", 1},
    {{NAME, M, -1}, NO_EXEMPLAR, 1, 0, {HELP, UNIT}, "", "", 1},
    {{NAME, 12, -1},
     NO_EXEMPLAR,
     1,
     0,
     META,
     "series 0 symbols: series 0: label reference 12 is beyond the 12 symbols sent\n",
     NULL,
     0},
    {{99, M, NAME, M, -1},
     NO_EXEMPLAR,
     1,
     1,
     META,
     "series 0 symbols: series 0: label reference 99 is beyond the 12 symbols sent\n",
     NULL,
     0},
    {{NAME, M, B, -1},
     NO_EXEMPLAR,
     1,
     0,
     META,
     "series 0 symbols: series 0: 3 label references are no pairs of name and value\n",
     NULL,
     0},
    {{NAME, M, -1},
     NO_EXEMPLAR,
     1,
     0,
     {12, UNIT},
     "series 0 symbols: series 0: help_ref 12 is beyond the 12 symbols sent\n",
     NULL,
     0},
    {{NAME, M, -1},
     NO_EXEMPLAR,
     1,
     0,
     {HELP, 77},
     "series 0 symbols: series 0: unit_ref 77 is beyond the 12 symbols sent\n",
     NULL,
     0},
    {{NAME, M, -1},
     {TRACE, 12, -1},
     9,
     1,
     0,
     META,
     "exemplar 0 symbols: series 0, exemplar at 9 ms: label reference 12 is beyond the 12 symbols "
     "sent\n",
     NULL,
     1},
    {{NAME, M, -1},
     {TRACE, -1},
     9,
     1,
     0,
     META,
     "exemplar 0 symbols: series 0, exemplar at 9 ms: 1 label references are no pairs of name and "
     "value\n",
     NULL,
     1},
    /* [W-30] [W-32] labels */
    {{B, ONE, NAME, M, -1},
     NO_EXEMPLAR,
     1,
     0,
     META,
     "",
     "series 0 labels: series 0: the labels are not sorted by name\n",
     1},
    {{NAME, M, B, EMPTY, -1},
     NO_EXEMPLAR,
     1,
     0,
     META,
     "",
     "series 0 labels: series 0: label \"b\" has an empty value\n",
     1},
    {{NAME, M, B, EMPTY, A, TWO, -1},
     NO_EXEMPLAR,
     1,
     0,
     META,
     "",
     "series 0 labels: series 0: the labels are not sorted by name\n",
     1},
    {{B, ONE, -1},
     NO_EXEMPLAR,
     1,
     0,
     META,
     "series 0 labels: series 0: no metric name: the label __name__ is missing or empty\n",
     NULL,
     0},
    {{NAME, EMPTY, -1},
     NO_EXEMPLAR,
     1,
     0,
     META,
     "series 0 labels: series 0: no metric name: the label __name__ is missing or empty\n",
     NULL,
     0},
    {{-1},
     NO_EXEMPLAR,
     1,
     0,
     META,
     "series 0 labels: series 0: no metric name: the label __name__ is missing or empty\n",
     NULL,
     0},
    {{NAME, M, B, ONE, B, TWO, -1},
     NO_EXEMPLAR,
     1,
     0,
     META,
     "series 0 labels: series 0: label name \"b\" is repeated\n",
     NULL,
     0},
    {{NAME, M, EMPTY, ONE, -1},
     NO_EXEMPLAR,
     1,
     0,
     META,
     "series 0 labels: series 0: a label has an empty name\n",
     NULL,
     0},
    {{NAME, M, B, BAD, -1},
     NO_EXEMPLAR,
     1,
     0,
     META,
     "series 0 labels: series 0: a label is not valid UTF-8\n",
     NULL,
     0},
    /* [W-35] data */
    {{NAME, M, -1},
     NO_EXEMPLAR,
     0,
     0,
     META,
     "series 0 series: series 0: no samples and no histograms\n",
     NULL,
     0},
    {{NAME, M, -1},
     NO_EXEMPLAR,
     0,
     0,
     {HELP, UNIT},
     "series 0 series: series 0: no samples and no histograms\n",
     NULL,
     0},
    {{NAME, M, -1},
     {TRACE, XY, -1},
     9,
     0,
     0,
     META,
     "",
     "series 0 series: series 0: exemplars without samples or histograms\n",
     1},
    {{NAME, M, -1}, NO_EXEMPLAR, 0, 2, META, "", "", 1},
    {{NAME, M, -1},
     NO_EXEMPLAR,
     2,
     1,
     META,
     "",
     "series 0 series: series 0: samples and histograms in one series\n",
     1},
    /* [W-45] exemplars */
    {{NAME, M, -1}, {TRACE, XY, -1}, 9, 1, 0, META, "", "", 1},
    {{NAME, M, -1}, {-1}, 9, 1, 0, META, "", "", 1},
    {{NAME, M, -1},
     {TRACE, XY, -1},
     0,
     1,
     0,
     META,
     "exemplar 0 exemplar: series 0, exemplar at 0 ms: an exemplar needs a timestamp\n",
     NULL,
     1},
    {{NAME, M, -1},
     {TRACE, XY, A, ONE, -1},
     9,
     1,
     0,
     META,
     "",
     "exemplar 0 labels: series 0, exemplar at 9 ms: the labels are not sorted by name\n",
     1},
    {{NAME, M, -1},
     {TRACE, EMPTY, -1},
     9,
     1,
     0,
     META,
     "",
     "exemplar 0 labels: series 0, exemplar at 9 ms: label \"trace_id\" has an empty value\n",
     1},
    {{NAME, M, -1},
     {TRACE, XY, TRACE, XY, -1},
     9,
     1,
     0,
     META,
     "exemplar 0 labels: series 0, exemplar at 9 ms: label name \"trace_id\" is repeated\n",
     NULL,
     1},
    {{NAME, M, -1},
     {TRACE, BAD, -1},
     9,
     1,
     0,
     META,
     "exemplar 0 labels: series 0, exemplar at 9 ms: a label is not valid UTF-8\n",
     NULL,
     1},
    {{NAME, M, -1},
     {EMPTY, XY, -1},
     9,
     1,
     0,
     META,
     "exemplar 0 labels: series 0, exemplar at 9 ms: a label has an empty name\n",
     NULL,
     1},
    {{NAME, M, -1},
     {TRACE, BAD, -1},
     9,
     0,
     0,
     {HELP, UNIT},
     "exemplar 0 labels: series 0, exemplar at 9 ms: a label is not valid UTF-8\n",
     "series 0 series: series 0: exemplars without samples or histograms\n",
     0},
    /* [W-49] histograms */
    {{NAME, M, -1},
     NO_EXEMPLAR,
     0,
     -1,
     META,
     "histogram 0 histogram: series 0, histogram at 3 ms: the buckets hold 1 observations, but "
     "count is 2; it must be as many\n",
     NULL,
     0},
    {{NAME, M, -1},
     NO_EXEMPLAR,
     1,
     -1,
     META,
     "histogram 0 histogram: series 0, histogram at 3 ms: the buckets hold 1 observations, but "
     "count is 2; it must be as many\n",
     "series 0 series: series 0: samples and histograms in one series\n",
     1},
};

static struct text message_of(const struct row *row)
{
    struct text t = {0}, series = {0};
    put_symbols(&t);
    put_refs(&series, row->labels);
    for (int i = 0; i < row->samples; i++)
        put_sample(&series);
    if (row->exemplar[0] != -2)
        put_exemplar(&series, row->exemplar, row->exemplar_timestamp);
    for (int i = 0; i < row->histograms; i++)
        put_histogram(&series, 1, 1, 3);
    for (int i = row->histograms; i < 0; i++)
        put_histogram(&series, 1, 2, 3);
    put_metadata(&series, (unsigned)row->metadata[0], (unsigned)row->metadata[1]);
    put_series(&t, &series);
    return t;
}

static void w_30_to_w_49_each_rule_of_2_0(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct told told;
        for (uint32_t flags = 0; flags <= PRA_CANONICAL_STRICT; flags++) {
            struct text t = message_of(row);
            const char *expected = flags && row->strict ? row->strict : row->told;
            pra_write_request *req = canonical(&t, PRA_WRITE_V2, flags, &told);
            if (strcmp(told.text.data, expected) != 0)
                fail_msg("row %zu, flags %u: %s", i, flags, told.text.data);
            if (!flags && columns_of(req).series_count != (size_t)row->kept)
                fail_msg("row %zu: kept", i);
            text_free(&told.text);
            pra_write_request_free(req);
        }
    }
}

/* All rows in one message, between two good series: what is left is what each leaves alone. */
static void w_22_what_is_good_is_kept(void **state)
{
    struct text t = {0}, series = {0}, expected = {0};
    struct told told;
    (void)state;
    put_symbols(&t);
    text_bytes(&expected, "", 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text one = message_of(&rows[i]), head = {0};
        put_symbols(&head);
        text_bytes(&t, one.data + head.len, one.len - head.len);
        text_free(&head);
        pra_write_request *req = canonical(&one, PRA_WRITE_V2, 0, &told);
        pra_columns c = columns_of(req);
        events_series(&expected, &c, 0, c.series_count);
        text_free(&told.text);
        pra_write_request_free(req);
    }
    put_refs(&series, good);
    put_sample(&series);
    put_metadata(&series, HELP, UNIT);
    put_series(&t, &series);
    pra_write_request *req = canonical(&t, PRA_WRITE_V2, 0, &told);
    pra_columns c = columns_of(req);
    struct text got = {0};
    text_bytes(&got, "", 0);
    events_series(&got, &c, 0, c.series_count - 1);
    assert_string_equal(got.data, expected.data);
    /* Metadata of series that are gone is gone, the rest follows its series. */
    assert_int_equal(c.metadata[c.metadata_count - 1].series, c.series_count - 1);
    text_free(&got);
    text_free(&expected);
    text_free(&told.text);
    pra_write_request_free(req);
}

static void w_33_strict_symbols_begin_with_the_empty_one(void **state)
{
    static const int refs[] = {0, 1, -1};
    (void)state;
    for (uint32_t flags = 0; flags <= PRA_CANONICAL_STRICT; flags++) {
        struct text t = {0}, series = {0};
        struct told told;
        put_field(&t, 0x22, "__name__", 8);
        put_field(&t, 0x22, "m", 1);
        put_field(&t, 0x22, "", 0);
        put_refs(&series, refs);
        put_sample(&series);
        put_series(&t, &series);
        pra_write_request *req = canonical(&t, PRA_WRITE_V2, flags, &told);
        assert_int_equal(columns_of(req).series_count, flags ? 0 : 1);
        assert_string_equal(told.text.data,
                            flags ? "series 0 symbols: series 0: the first symbol sent is not "
                                    "empty\n"
                                  : "");
        text_free(&told.text);
        pra_write_request_free(req);
    }
}

/* ---- data between data */

static void one_bad_histogram_among_good_ones(void **state)
{
    struct text t = {0}, series = {0};
    struct told told;
    (void)state;
    put_symbols(&t);
    for (unsigned i = 0; i < 4; i++) {
        put_refs(&series, good);
        for (unsigned j = 0; j < 5; j++)
            put_histogram(&series, 10 * i + j, 10 * i + j + (j == i), j + 1);
        put_series(&t, &series);
    }
    pra_write_request *req = canonical(&t, PRA_WRITE_V2, 0, &told);
    pra_columns c = columns_of(req);
    assert_int_equal(told.calls, 4);
    assert_int_equal(told.histograms, 4);
    assert_int_equal(c.series_count, 4);
    assert_int_equal(c.histogram_count, 16);
    assert_int_equal(c.positive_delta_count, 16);
    for (unsigned i = 0, n = 0; i < 4; i++)
        for (unsigned j = 0; j < 5; j++) {
            if (j == i)
                continue;
            assert_int_equal(c.histograms[n].timestamp_ms, j + 1);
            assert_int_equal(c.positive_deltas[c.histograms[n].positive_deltas.start], 10 * i + j);
            n++;
        }
    text_free(&told.text);
    pra_write_request_free(req);
}

static void one_bad_exemplar_among_good_ones(void **state)
{
    static const int kinds[][5] = {{TRACE, XY, -1},         {TRACE, BAD, -1},
                                   {A, ONE, TRACE, 50, -1}, {TRACE, XY, B, ONE, -1},
                                   {B, EMPTY, -1},          {-1}};
    static const int kept_labels[] = {1, -1, -1, 2, 0, 0};
    struct text t = {0}, series = {0};
    struct told told;
    size_t n = 0, labels = 0;
    (void)state;
    put_symbols(&t);
    for (unsigned i = 0; i < 6; i++) {
        put_refs(&series, good);
        put_sample(&series);
        for (unsigned j = 0; j < 6; j++)
            put_exemplar(&series, kinds[(i + j) % 6], 1 + i * 6 + j);
        put_series(&t, &series);
    }
    pra_write_request *req = canonical(&t, PRA_WRITE_V2, 0, &told);
    pra_columns c = columns_of(req);
    assert_int_equal(told.calls, 12);
    assert_int_equal(told.exemplars, 12);
    assert_int_equal(told.samples, 0);
    assert_int_equal(c.exemplar_count, 24);
    for (unsigned i = 0; i < 36; i++) {
        const int expected = kept_labels[(i / 6 + i % 6) % 6];
        if (expected < 0)
            continue;
        assert_int_equal(c.exemplar_timestamps_ms[n], i + 1);
        assert_int_equal(c.exemplar_label_offsets[n], labels);
        n++;
        labels += (size_t)expected;
    }
    assert_int_equal(c.exemplar_label_offsets[n], labels);
    text_free(&told.text);
    pra_write_request_free(req);
}

/* [W-44] go with their samples. */
static void start_timestamps_follow_their_samples(void **state)
{
    struct text t = {0}, series = {0};
    struct told told;
    static const int bad[] = {B, ONE, -1};
    (void)state;
    put_symbols(&t);
    for (unsigned i = 0; i < 20; i++) {
        char sample[] = {0x10, 1, 0x18, (char)(i + 1)};
        put_refs(&series, i % 3 == 1 ? bad : good);
        put_field(&series, 0x12, sample, sizeof(sample));
        put_series(&t, &series);
    }
    pra_write_request *req = canonical(&t, PRA_WRITE_V2, 0, &told);
    pra_columns c = columns_of(req);
    assert_int_equal(c.sample_count, 13);
    for (unsigned i = 0, n = 0; i < 20; i++)
        if (i % 3 != 1)
            assert_int_equal(c.start_timestamps_ms[n++], i + 1);
    text_free(&told.text);
    pra_write_request_free(req);
}

/* Entries that stand alone stay, wherever they are among those of series. */
static void metadata_that_stands_alone_stays(void **state)
{
    const pra_label name = {STR("__name__"), STR("m")}, other = {STR("a"), STR("b")};
    const pra_str none = {NULL, 0};
    const int64_t timestamp = 1;
    const double value = 1;
    pra_write_request *req = new_request(NULL);
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(pra_write_request_add_metadata(req, 1, STR("family"), none, none), PRA_OK);
        assert_int_equal(pra_write_request_add_series(req, i % 2 ? &other : &name, 1), PRA_OK);
        assert_int_equal(pra_write_request_add_samples(req, &timestamp, &value, NULL, 1), PRA_OK);
        assert_int_equal(pra_write_request_add_metadata(req, 2, none, STR("help"), none), PRA_OK);
        if (i != 1)
            assert_int_equal(pra_write_request_add_metadata(req, 1, STR("f"), none, none), PRA_OK);
    }
    assert_int_equal(pra_write_request_canonicalize(req, 0, NULL, NULL), 2);
    pra_columns c = columns_of(req);
    assert_null(canonical_fault(&c, 0));
    uint32_t seen = 0;
    size_t alone = 0;
    for (size_t i = 0; i < c.metadata_count; i++) {
        if (c.metadata[i].series == UINT32_MAX)
            alone++;
        else
            assert_int_equal(c.metadata[i].series, seen++);
    }
    assert_int_equal(seen, 3);
    assert_int_equal(alone, 9);
    pra_write_request_free(req);
}

/* ---- version 1.0 */

static void v1_exemplars_need_no_timestamp_and_series_no_data(void **state)
{
    const pra_label name = {STR("__name__"), STR("m")};
    pra_write_request *req = new_request(NULL);
    struct told told;
    (void)state;
    assert_int_equal(pra_write_request_add_series(req, &name, 1), PRA_OK);
    assert_int_equal(pra_write_request_add_exemplar(req, NULL, 0, 0, 1), PRA_OK);
    assert_int_equal(pra_write_request_add_series(req, &name, 1), PRA_OK);
    struct text t = encoding_of(req, PRA_WRITE_V1);
    pra_write_request *decoded = canonical(&t, PRA_WRITE_V1, PRA_CANONICAL_STRICT, &told);
    assert_int_equal(told.calls, 0);
    assert_int_equal(columns_of(decoded).series_count, 2);
    text_free(&told.text);
    pra_write_request_free(req);
    pra_write_request_free(decoded);
}

/* ---- histograms that are mended */

static void add_histogram(pra_write_request *req, const pra_histogram *h)
{
    static const pra_bucket_span spans[] = {{1, 4}, {0, 1}};
    static const int64_t deltas[] = {1, 1, 1, 1, -4};
    static const double counts[] = {1, 2, 3, 4, 5};
    const pra_columns c = {.size = sizeof(c),
                           .histograms = h,
                           .histogram_count = 1,
                           .bucket_spans = spans,
                           .bucket_span_count = 2,
                           .negative_bucket_spans = spans,
                           .negative_bucket_span_count = 2,
                           .positive_deltas = deltas,
                           .positive_delta_count = 5,
                           .negative_deltas = deltas,
                           .negative_delta_count = 5,
                           .positive_counts = counts,
                           .positive_count_count = 5,
                           .negative_counts = counts,
                           .negative_count_count = 5,
                           .custom_values = counts,
                           .custom_value_count = 5};
    assert_int_equal(pra_write_request_add_histogram(req, &c, 0), PRA_OK);
}

static pra_write_request *with_histogram(const pra_histogram *h)
{
    const pra_label name = {STR("__name__"), STR("m")};
    pra_write_request *req = new_request(NULL);
    assert_int_equal(pra_write_request_add_series(req, &name, 1), PRA_OK);
    add_histogram(req, h);
    return req;
}

static void w_43_stale_histograms_are_made_bare(void **state)
{
    const uint64_t bits = PRA_STALE_NAN_BITS;
    (void)state;
    for (uint32_t flags = 0; flags < 4; flags++) {
        pra_histogram h = {.timestamp_ms = 5,
                           .start_timestamp_ms = 3,
                           .count_bits = 7,
                           .zero_count_bits = 9,
                           .schema = 77,
                           .reset_hint = 2,
                           .zero_threshold = 1,
                           .flags = flags,
                           .positive_spans = {0, 1},
                           .negative_spans = {0, 2},
                           .positive_deltas = {1, 2},
                           .negative_counts = {0, 1},
                           .custom_values = {1, 2}};
        memcpy(&h.sum, &bits, sizeof(bits));
        pra_write_request *req = with_histogram(&h);
        assert_int_equal(pra_write_request_canonicalize(req, PRA_CANONICAL_STRICT, NULL, NULL), 0);
        pra_columns c = columns_of(req);
        assert_null(canonical_fault(&c, 0));
        assert_true(pra_histogram_is_stale(&c.histograms[0]));
        assert_int_equal(c.histograms[0].timestamp_ms, 5);
        assert_int_equal(c.histograms[0].start_timestamp_ms, 3);
        assert_int_equal(c.histograms[0].flags & PRA_HISTOGRAM_FLOAT, flags & PRA_HISTOGRAM_FLOAT);
        pra_write_request_free(req);
    }
}

static void w_48_fine_schemas_are_reduced(void **state)
{
    pra_histogram h = {
        .count_bits = 10, .schema = 9, .positive_spans = {0, 2}, .positive_deltas = {0, 5}};
    pra_write_request *req = with_histogram(&h);
    (void)state;
    add_histogram(req, &h);
    h.count_bits = 11; /* and one that is wrong also afterwards */
    add_histogram(req, &h);
    h.count_bits = 10;
    add_histogram(req, &h);
    assert_int_equal(pra_write_request_canonicalize(req, 0, NULL, NULL), 1);
    pra_columns c = columns_of(req);
    assert_null(canonical_fault(&c, 0));
    assert_int_equal(c.histogram_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const pra_histogram *got = &c.histograms[i];
        assert_int_equal(got->schema, 8);
        assert_int_equal(got->positive_spans.count, 1);
        assert_int_equal(c.bucket_spans[got->positive_spans.start].offset, 1);
        assert_int_equal(c.bucket_spans[got->positive_spans.start].length, 3);
        assert_int_equal(got->positive_deltas.count, 3);
        assert_int_equal(c.positive_deltas[got->positive_deltas.start], 3);
        assert_int_equal(c.positive_deltas[got->positive_deltas.start + 1], 4);
        assert_int_equal(c.positive_deltas[got->positive_deltas.start + 2], -7);
    }
    pra_write_request_free(req);
}

static void w_47_what_is_of_the_other_kind_goes(void **state)
{
    pra_histogram h = {.count_bits = 10,
                       .zero_count_bits = 1,
                       .flags = PRA_HISTOGRAM_ZERO_FLOAT,
                       .positive_spans = {0, 2},
                       .positive_deltas = {0, 5},
                       .positive_counts = {0, 5},
                       .negative_counts = {0, 2}};
    pra_write_request *req = with_histogram(&h);
    (void)state;
    assert_int_equal(pra_write_request_canonicalize(req, 0, NULL, NULL), 0);
    pra_columns c = columns_of(req);
    assert_null(canonical_fault(&c, 0));
    assert_int_equal(c.histograms[0].flags, 0);
    assert_int_equal(c.histograms[0].zero_count_bits, 0);
    assert_int_equal(c.histograms[0].positive_deltas.count, 5);
    pra_write_request_free(req);
}

/* ---- many faults */

/* Nobody reads a million reasons: only the first hundred are written out. */
static void from_the_hundred_and_first_on_reasons_are_short(void **state)
{
    enum { MANY = 150 };
    struct text t = {0}, series = {0};
    struct told told;
    size_t full = 0, brief = 0;
    (void)state;
    put_symbols(&t);
    for (int i = 0; i < MANY; i++) {
        put_refs(&series, good);
        put_histogram(&series, 1, 2, 3);
        put_series(&t, &series);
        put_refs(&series, good + 2);
        put_sample(&series);
        put_series(&t, &series);
    }
    pra_write_request *req = canonical(&t, PRA_WRITE_V2, 0, &told);
    assert_int_equal(told.calls, 2 * MANY);
    for (const char *p = told.text.data; (p = strchr(p, '\n')) != NULL; p++) {
        const char *line = p;
        while (line > told.text.data && line[-1] != '\n')
            line--;
        const size_t len = (size_t)(p - line);
        const char *ends[] = {": invalid labels", ": invalid native histogram"};
        int is_brief = 0;
        for (int i = 0; i < 2; i++)
            is_brief |= strncmp(p - strlen(ends[i]), ends[i], strlen(ends[i])) == 0;
        assert_true(len > 20);
        assert_true(!is_brief || full == 100);
        brief += (size_t)is_brief;
        full += (size_t)!is_brief;
    }
    assert_int_equal(full, 100);
    assert_int_equal(brief, 2 * MANY - 100);
    assert_int_equal(told.histograms, MANY);
    assert_int_equal(told.samples, MANY);
    assert_int_equal(columns_of(req).series_count, 0);
    text_free(&told.text);
    pra_write_request_free(req);
}

/* ---- long symbols */

enum { LONGS = 40, LENGTH = 300 };

/* Symbols that differ at their end only; every third is equal to the one before it. */
static void put_long_symbols(struct text *t, int bad)
{
    char bytes[LENGTH];
    put_field(t, 0x22, "", 0);
    put_field(t, 0x22, "__name__", 8);
    memset(bytes, 'x', sizeof(bytes));
    for (int i = 0; i < LONGS; i++) {
        bytes[LENGTH - 1] = (char)('0' + (LONGS - i + 1) / 3);
        bytes[LENGTH - 2] = i == bad ? '\xff' : 'x';
        put_field(t, 0x22, bytes, LENGTH - (size_t)(i == 7));
    }
}

static struct text long_message(int bad)
{
    struct text t = {0}, series = {0};
    put_long_symbols(&t, bad);
    for (int i = 2; i + 6 < LONGS; i++) {
        const int refs[] = {i, 2, 1, i, i + 3, i + 4, i + 6, 5, -1};
        const int repeated[] = {i, 2, 1, i, i + 1, i + 4, -1};
        put_refs(&series, i % 2 ? refs : repeated);
        put_field(&series, 0x12, "\x10\x05", 2);
        put_series(&t, &series);
    }
    return t;
}

static void long_symbols_are_compared_as_any(void **state)
{
    (void)state;
    for (int bad = -1; bad < 12; bad += 4) {
        struct text t = long_message(bad), copy = {0};
        struct told told;
        text_append(&copy, &t);
        pra_write_request *req = canonical(&t, PRA_WRITE_V2, 0, &told);
        pra_write_request *v1 = new_request(NULL);
        /* The same as a message of 1.0, whose strings are looked at one by one. */
        pra_write_request *plain = new_request(NULL);
        assert_int_equal(
            pra_write_request_decode(v1, PRA_WRITE_V2, copy.data, copy.len, NULL, NULL), PRA_OK);
        struct text as_v1 = encoding_of(v1, PRA_WRITE_V1);
        assert_int_equal(
            pra_write_request_decode(plain, PRA_WRITE_V1, as_v1.data, as_v1.len, NULL, NULL),
            PRA_OK);
        assert_int_equal(pra_write_request_canonicalize(plain, 0, NULL, NULL), told.calls);
        assert_true(told.calls > 0 && columns_of(req).series_count > 0);
        struct text a = events_of(req), b = events_of(plain);
        assert_string_equal(a.data, b.data);
        text_free(&a);
        text_free(&b);
        text_free(&as_v1);
        text_free(&copy);
        text_free(&told.text);
        pra_write_request_free(req);
        pra_write_request_free(v1);
        pra_write_request_free(plain);
    }
}

/* Without memory for their order they are compared as they are. */
static int canonicalize_without_memory(struct failing_alloc *f, void *arg)
{
    const struct text *t = arg;
    pra_write_request *req = NULL;
    int rc = pra_write_request_new(&f->alloc, &req);
    if (rc == PRA_OK)
        rc = pra_write_request_decode(req, PRA_WRITE_V2, t->data, t->len, NULL, NULL);
    if (rc == PRA_OK) {
        const int64_t rejected = pra_write_request_canonicalize(req, 0, NULL, NULL);
        pra_columns c = columns_of(req);
        assert_int_equal(rejected, 27);
        assert_null(canonical_fault(&c, PRA_WRITE_V2));
        /* this call needs memory, but not so much that it fails: count it as met */
        rc = f->mode != FAIL_NEVER && f->calls > f->fail_at ? PRA_ERR_NOMEM : PRA_OK;
    }
    pra_write_request_free(req);
    return rc;
}

static void long_symbols_without_memory(void **state)
{
    struct text t = long_message(3);
    (void)state;
    const char *wrong = failing_alloc_loop(canonicalize_without_memory, &t);
    if (wrong)
        fail_msg("%s", wrong);
    text_free(&t);
}

/* ---- both versions */

static pra_write_request *decoded_again(const pra_write_request *built, int32_t version,
                                        struct text *t)
{
    pra_write_request *req = new_request(NULL);
    *t = encoding_of(built, version);
    assert_int_equal(pra_write_request_decode(req, version, t->data, t->len, NULL, NULL), PRA_OK);
    return req;
}

/* Mostly the same names in the same order, which 2.0 sees by their symbols. */
static void add_random_series(pra_write_request *req, uint64_t *random)
{
    static const char *const names[] = {"__name__", "a", "b", "b", "c", "d"};
    static const char *const values[] = {"1", "2", "\xc3\xa9", ""};
    const size_t rare = random_below(random, 4) ? 8 : 2;
    pra_label labels[8];
    size_t n = 0;
    const int64_t timestamp = 1;
    const double value = 2;
    for (size_t i = 0; i < 6; i++) {
        if (i == 3 ? random_below(random, rare) : !random_below(random, 4 * rare))
            continue;
        const char *text = values[random_below(random, random_below(random, rare) ? 3 : 4)];
        labels[n].name = (pra_str){names[i], strlen(names[i])};
        labels[n++].value = (pra_str){text, strlen(text)};
    }
    if (n > 1 && !random_below(random, rare)) {
        const pra_label first = labels[0];
        labels[0] = labels[n - 1];
        labels[n - 1] = first;
    }
    assert_int_equal(pra_write_request_add_series(req, labels, n), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, &timestamp, &value, NULL, 1), PRA_OK);
}

static void both_versions_become_the_same(void **state)
{
    uint64_t random = 5;
    int64_t all_rejected = 0;
    size_t all_kept = 0;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        const uint32_t flags = i % 3 == 0 ? PRA_CANONICAL_STRICT : 0;
        pra_write_request *built = new_request(NULL);
        struct text t1, t2;
        for (size_t n = 1 + random_below(&random, 8); n > 0; n--)
            add_random_series(built, &random);
        pra_write_request *v1 = decoded_again(built, PRA_WRITE_V1, &t1);
        pra_write_request *v2 = decoded_again(built, PRA_WRITE_V2, &t2);
        const int64_t rejected = pra_write_request_canonicalize(v2, flags, NULL, NULL);
        assert_int_equal(pra_write_request_canonicalize(v1, flags, NULL, NULL), rejected);
        struct text a = events_of(v1), b = events_of(v2);
        assert_string_equal(a.data, b.data);
        pra_columns c = columns_of(v2);
        assert_null(canonical_fault(&c, PRA_WRITE_V2));
        all_rejected += rejected;
        all_kept += c.series_count;
        text_free(&a);
        text_free(&b);
        text_free(&t1);
        text_free(&t2);
        pra_write_request_free(built);
        pra_write_request_free(v1);
        pra_write_request_free(v2);
    }
    assert_true(all_rejected > 500 && all_kept > 2000);
}

/* ---- random messages */

static void random_messages_become_canonical(void **state)
{
    struct message_gen g = {.random = 77, .groups = 0};
    size_t kept = 0, told_calls = 0, exemplars = 0, histograms = 0;
    (void)state;
    for (int i = 0; i < 6000; i++) {
        const int32_t version = i % 2 ? PRA_WRITE_V1 : PRA_WRITE_V2;
        struct text t = {0};
        struct told told;
        if (version == PRA_WRITE_V1)
            gen_write_v1(&g, &t);
        else
            gen_write_v2(&g, &t);
        pra_write_request *req =
            canonical(&t, version, i % 5 == 0 ? PRA_CANONICAL_STRICT : 0, &told);
        pra_columns c = columns_of(req);
        kept += c.series_count;
        exemplars += c.exemplar_count;
        histograms += c.histogram_count;
        told_calls += (size_t)told.calls;
        text_free(&told.text);
        pra_write_request_free(req);
    }
    assert_true(kept > 1000 && told_calls > 1000 && exemplars > 50 && histograms > 50);
}

static void unknown_flags_are_refused(void **state)
{
    pra_write_request *req = new_request(NULL);
    (void)state;
    assert_int_equal(pra_write_request_canonicalize(req, 2, NULL, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_write_request_canonicalize(req, 1u << 31, NULL, NULL),
                     PRA_ERR_INVALID_ARG);
    pra_write_request_free(req);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(w_30_to_w_49_each_rule_of_2_0),
        cmocka_unit_test(w_22_what_is_good_is_kept),
        cmocka_unit_test(w_33_strict_symbols_begin_with_the_empty_one),
        cmocka_unit_test(one_bad_histogram_among_good_ones),
        cmocka_unit_test(one_bad_exemplar_among_good_ones),
        cmocka_unit_test(start_timestamps_follow_their_samples),
        cmocka_unit_test(metadata_that_stands_alone_stays),
        cmocka_unit_test(v1_exemplars_need_no_timestamp_and_series_no_data),
        cmocka_unit_test(w_43_stale_histograms_are_made_bare),
        cmocka_unit_test(w_48_fine_schemas_are_reduced),
        cmocka_unit_test(w_47_what_is_of_the_other_kind_goes),
        cmocka_unit_test(from_the_hundred_and_first_on_reasons_are_short),
        cmocka_unit_test(long_symbols_are_compared_as_any),
        cmocka_unit_test(long_symbols_without_memory),
        cmocka_unit_test(both_versions_become_the_same),
        cmocka_unit_test(random_messages_become_canonical),
        cmocka_unit_test(unknown_flags_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
