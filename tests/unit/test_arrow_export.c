/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "message/arrow_labels.h"
#include "message/arrow_read.h"
#include "support/failing_alloc.h"
#include "support/message_gen.h"
#include "unit/arrow_fixture.h"

enum { TABLES = PRA_ARROW_METADATA + 1 };

/* Row i of an array of strings. */
static pra_str text_in(const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t i)
{
    struct pra__arrow_text text = {.type = pra__arrow_text_type(schema), .column = ""};
    pra_str out;
    assert_int_equal(pra__arrow_bind_text(&text, array, array->length, NULL), PRA_OK);
    assert_int_equal(pra__arrow_text_at(&text, i, &out, NULL), PRA_OK);
    return out;
}

static void assert_str(pra_str got, const char *base, pra_span span)
{
    assert_int_equal(got.len, span.len);
    assert_memory_equal(got.ptr, base + span.off, span.len);
}

/* Labels of row i of a column labels. */
static void assert_labels(const struct ArrowSchema *schema, const struct ArrowArray *array,
                          int64_t i, const char *base, const pra_label_span *labels, size_t count)
{
    const int32_t *offsets = array->buffers[1];
    const struct ArrowSchema *pair = schema->children[0];
    struct ArrowArray *const *both = array->children[0]->children;
    assert_int_equal(offsets[i + 1] - offsets[i], count);
    for (size_t j = 0; j < count; j++) {
        const int64_t at = offsets[i] + (int64_t)j;
        assert_str(text_in(pair->children[0], both[0], at), base, labels[j].name);
        assert_str(text_in(pair->children[1], both[1], at), base, labels[j].value);
    }
}

static void check_samples(const pra_columns *c, const struct ArrowSchema *s,
                          const struct ArrowArray *a)
{
    (void)s;
    const uint32_t *series = a->children[0]->buffers[1];
    assert_int_equal(a->length, c->sample_count);
    if (a->length) {
        assert_ptr_equal(a->children[1]->buffers[1], c->timestamps_ms);
        assert_ptr_equal(a->children[2]->buffers[1], c->values);
    }
    int64_t nulls = 0;
    for (uint32_t i = 0; i < c->series_count; i++) {
        for (uint32_t j = c->sample_offsets[i]; j < c->sample_offsets[i + 1]; j++) {
            const int64_t start = c->start_timestamps_ms ? c->start_timestamps_ms[j] : 0;
            assert_int_equal(series[j], i);
            assert_int_equal(pra__arrow_is_null(a->children[3]->buffers[0], j), start == 0);
            if (start)
                assert_int_equal(((const int64_t *)a->children[3]->buffers[1])[j], start);
            nulls += start == 0;
        }
    }
    assert_int_equal(a->children[3]->null_count, nulls);
    assert_int_equal(a->children[3]->buffers[0] != NULL, nulls > 0);
}

static void check_series(const pra_columns *c, const struct ArrowSchema *s,
                         const struct ArrowArray *a)
{
    assert_int_equal(a->length, c->series_count);
    for (uint32_t i = 0; i < c->series_count; i++) {
        const pra_label_span *labels = c->labels + c->label_offsets[i];
        const size_t count = c->label_offsets[i + 1] - c->label_offsets[i];
        assert_int_equal(((const uint32_t *)a->children[0]->buffers[1])[i], i);
        assert_int_equal(((const uint64_t *)a->children[1]->buffers[1])[i],
                         pra_labels_fingerprint(c->base, labels, count));
        assert_str(text_in(s->children[2], a->children[2], i), c->base, labels[0].value);
        assert_labels(s->children[3], a->children[3], i, c->base, labels, count);
    }
}

static void check_exemplars(const pra_columns *c, const struct ArrowSchema *s,
                            const struct ArrowArray *a)
{
    assert_int_equal(a->length, c->exemplar_count);
    for (uint32_t i = 0; i < c->series_count; i++)
        for (uint32_t j = c->exemplar_offsets[i]; j < c->exemplar_offsets[i + 1]; j++)
            assert_int_equal(((const uint32_t *)a->children[0]->buffers[1])[j], i);
    for (uint32_t i = 0; i < c->exemplar_count; i++)
        assert_labels(s->children[3], a->children[3], i, c->base,
                      c->exemplar_labels + c->exemplar_label_offsets[i],
                      c->exemplar_label_offsets[i + 1] - c->exemplar_label_offsets[i]);
}

static void check_metadata(const pra_columns *c, const struct ArrowSchema *s,
                           const struct ArrowArray *a)
{
    assert_int_equal(a->length, c->metadata_count);
    for (uint32_t i = 0; i < c->metadata_count; i++) {
        assert_int_equal(((const uint32_t *)a->children[0]->buffers[1])[i], c->metadata[i].series);
        assert_str(text_in(s->children[1], a->children[1], i), c->base, c->metadata[i].family);
        assert_str(text_in(s->children[3], a->children[3], i), c->base, c->metadata[i].help);
        assert_str(text_in(s->children[4], a->children[4], i), c->base, c->metadata[i].unit);
    }
}

static void random_requests_are_exported_as_they_are(void **state)
{
    static void (*const check[TABLES])(const pra_columns *, const struct ArrowSchema *,
                                       const struct ArrowArray *) = {
        check_samples, check_series, NULL, check_exemplars, check_metadata};
    uint64_t random = 7;
    (void)state;
    for (int round = 0; round < 400; round++) {
        struct text message = {0};
        pra_write_request *req = random_request(&random);
        if (round % 2)
            req = as_v2(req, &message);
        if (round % 4 == 3)
            assert_true(pra_write_request_canonicalize(req, 0, NULL, NULL) >= 0);
        const pra_columns c = view_of(req);
        for (int32_t table = 0; table < TABLES; table++) {
            struct ArrowSchema schema;
            struct ArrowArray array;
            assert_int_equal(pra_arrow_export(req, table, NULL, &schema, &array, NULL), PRA_OK);
            if (check[table])
                check[table](&c, &schema, &array);
            schema.release(&schema);
            assert_null(schema.release);
            array.release(&array);
            assert_null(array.release);
        }
        pra_write_request_free(req);
        text_free(&message);
    }
}

/* Until a request is canonical such a reference is the empty string, and symbol 0, which here is
 * not that [W-33]. */
static void wrong_references_are_empty_strings(void **state)
{
    struct text message = text_of_hex("22 01 78 22 01 79 2a 08 0a 06 05 01 00 01 01 00");
    pra_write_request *req = new_request(NULL);
    struct ArrowSchema schema;
    struct ArrowArray array;
    (void)state;
    assert_int_equal(
        pra_write_request_decode(req, PRA_WRITE_V2, message.data, message.len, NULL, NULL), PRA_OK);
    const pra_columns c = view_of(req);
    assert_non_null(c.label_refs);
    assert_int_equal(c.labels[0].name.len, 0);
    assert_int_equal(c.labels[1].name.len, 1);
    assert_int_equal(pra_arrow_export(req, PRA_ARROW_SERIES, NULL, &schema, &array, NULL), PRA_OK);
    assert_labels(schema.children[3], array.children[3], 0, c.base, c.labels, 3);
    schema.release(&schema);
    array.release(&array);
    pra_write_request_free(req);
    text_free(&message);
}

/* Differences of buckets become counts; of float histograms they are counts already. */
static void check_histograms(const pra_write_request *req, size_t *seen)
{
    const pra_columns c = view_of(req);
    struct ArrowArray a;
    assert_int_equal(pra_arrow_export(req, PRA_ARROW_HISTOGRAMS, NULL, NULL, &a, NULL), PRA_OK);
    assert_int_equal(a.length, c.histogram_count);
    const uint8_t *is_float = a.children[5]->buffers[1];
    const int32_t *offsets = a.children[11]->buffers[1];
    const double *buckets = a.children[11]->children[0]->buffers[1];
    for (size_t i = 0; i < c.histogram_count; i++) {
        const pra_histogram *h = &c.histograms[i];
        const int counts = (h->flags & PRA_HISTOGRAM_FLOAT) != 0;
        const pra_range range = counts ? h->positive_counts : h->positive_deltas;
        uint64_t sum = 0;
        seen[counts] += range.count > 1;
        assert_int_equal(is_float[i / 8] >> i % 8 & 1, counts);
        assert_int_equal(offsets[i + 1] - offsets[i], range.count);
        for (uint32_t j = 0; j < range.count; j++) {
            const double *got = &buckets[offsets[i] + (int32_t)j];
            if (counts) {
                assert_memory_equal(got, &c.positive_counts[range.start + j], sizeof(double));
            } else {
                sum += (uint64_t)c.positive_deltas[range.start + j];
                assert_true(*got == (double)(int64_t)sum);
            }
        }
    }
    a.release(&a);
}

static void histograms_of_both_kinds(void **state)
{
    struct message_gen g = {.random = 11, .groups = 1};
    size_t seen[2] = {0, 0};
    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct text message = {0};
        pra_write_request *req = new_request(NULL);
        gen_write_v1(&g, &message);
        if (pra_write_request_decode(req, PRA_WRITE_V1, message.data, message.len, NULL, NULL) ==
            PRA_OK)
            check_histograms(req, seen);
        pra_write_request_free(req);
        text_free(&message);
    }
    assert_true(seen[0] > 50 && seen[1] > 50);
}

/* ---- life */

/* Whether nobody shares it: then a wrong call is refused for what it is. */
static int may_change(pra_write_request *req)
{
    return pra_write_request_add_series(req, NULL, 1) != PRA_ERR_BUSY;
}

static void *release_on_a_thread(void *array)
{
    ((struct ArrowArray *)array)->release(array);
    return NULL;
}

static void children_outlive_their_parent_on_any_thread(void **state)
{
    uint64_t random = 3;
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct failing_alloc f;
        struct ArrowArray parent, column[4];
        pthread_t thread[4];
        pra_write_request *req = random_request(&random);
        failing_alloc_init(&f);
        assert_int_equal(pra_arrow_export(req, PRA_ARROW_SAMPLES, &f.alloc, NULL, &parent, NULL),
                         PRA_OK);
        for (int i = 0; i < 4; i++) {
            column[i] = *parent.children[i];
            parent.children[i]->release = NULL;
        }
        assert_false(may_change(req));
        parent.release(&parent);
        assert_false(may_change(req));
        assert_true(f.live > 0);
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, release_on_a_thread, &column[i]), 0);
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(f.live, 0);
        assert_true(may_change(req));
        pra_write_request_free(req);
    }
}

static void children_of_a_schema_and_dictionaries_outlive_it(void **state)
{
    struct failing_alloc f;
    struct ArrowSchema schema, labels, names;
    (void)state;
    failing_alloc_init(&f);
    assert_int_equal(pra_arrow_schema(PRA_ARROW_SERIES, &f.alloc, &schema), PRA_OK);
    labels = *schema.children[3];
    schema.children[3]->release = NULL;
    names = *labels.children[0]->children[0]->dictionary;
    labels.children[0]->children[0]->dictionary->release = NULL;
    schema.release(&schema);
    assert_string_equal(labels.format, "+m");
    labels.release(&labels);
    assert_string_equal(names.format, "u");
    assert_true(f.live > 0);
    names.release(&names);
    assert_int_equal(f.live, 0);
}

static void a_stream_gives_one_array(void **state)
{
    uint64_t random = 5;
    pra_write_request *req = random_request(&random);
    const size_t samples = view_of(req).sample_count;
    struct ArrowArrayStream stream;
    struct ArrowSchema schema;
    struct ArrowArray array, end;
    (void)state;
    assert_int_equal(pra_arrow_stream(req, PRA_ARROW_SAMPLES, NULL, &stream, NULL), PRA_OK);
    assert_int_equal(stream.get_schema(&stream, &schema), 0);
    assert_int_equal(stream.get_next(&stream, &array), 0);
    assert_int_equal(stream.get_next(&stream, &end), 0);
    assert_null(end.release);
    stream.release(&stream);
    assert_null(stream.release);
    assert_int_equal(array.length, samples);
    assert_int_equal(schema.n_children, array.n_children);
    assert_false(may_change(req));
    array.release(&array);
    schema.release(&schema);
    assert_true(may_change(req));
    /* and one that nobody reads */
    assert_int_equal(pra_arrow_stream(req, PRA_ARROW_SAMPLES, NULL, &stream, NULL), PRA_OK);
    stream.release(&stream);
    assert_true(may_change(req));
    pra_write_request_free(req);
}

static void wrong_calls_are_refused(void **state)
{
    pra_write_request *req = new_request(NULL);
    struct ArrowArrayStream stream;
    struct ArrowSchema schema;
    struct ArrowArray array;
    pra_error err = {0};
    (void)state;
    for (int32_t table = -1; table <= TABLES; table += TABLES + 1) {
        assert_int_equal(pra_arrow_schema(table, NULL, &schema), PRA_ERR_INVALID_ARG);
        assert_int_equal(pra_arrow_export(req, table, NULL, NULL, &array, &err),
                         PRA_ERR_INVALID_ARG);
        assert_int_equal(pra_arrow_stream(req, table, NULL, &stream, &err), PRA_ERR_INVALID_ARG);
    }
    assert_int_equal(pra_arrow_schema(0, NULL, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_arrow_export(NULL, 0, NULL, NULL, &array, &err), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_arrow_export(req, 0, NULL, NULL, NULL, &err), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_arrow_stream(req, 0, NULL, NULL, &err), PRA_ERR_INVALID_ARG);
    pra_write_request_free(req);
}

static void labels_that_are_no_utf8_are_refused(void **state)
{
    const pra_label bad = {STR("a"), STR("\xff")};
    struct failing_alloc f;
    pra_write_request *req = new_request(NULL);
    struct ArrowArray array;
    pra_error err = {0};
    (void)state;
    failing_alloc_init(&f);
    assert_int_equal(pra_write_request_add_series(req, &bad, 1), PRA_OK);
    assert_int_equal(pra_write_request_add_exemplar(req, &bad, 1, 1, 1.0), PRA_OK);
    for (int32_t table = 0; table < TABLES; table++) {
        const int has_labels = table == PRA_ARROW_SERIES || table == PRA_ARROW_EXEMPLARS;
        int rc = pra_arrow_export(req, table, &f.alloc, NULL, &array, &err);
        assert_int_equal(rc, has_labels ? PRA_ERR_LABELS : PRA_OK);
        if (rc == PRA_OK)
            array.release(&array);
        assert_int_equal(f.live, 0);
        assert_true(may_change(req));
    }
    assert_int_equal(err.code, PRA_ERR_LABELS);
    pra_write_request_free(req);
}

static void what_arrow_cannot_count_is_refused(void **state)
{
    pra_error err = {0};
    (void)state;
    assert_int_equal(pra__arrow_countable(INT32_MAX, "labels", &err), PRA_OK);
    assert_int_equal(pra__arrow_countable((uint64_t)INT32_MAX + 1, "labels", &err),
                     PRA_ERR_NOT_SUPPORTED);
    assert_non_null(strstr(err.message, "2147483648 labels"));
}

/* ---- out of memory */

static int export_all(struct failing_alloc *f, void *arg)
{
    pra_write_request *req = arg;
    int rc = PRA_OK;
    for (int32_t table = 0; rc == PRA_OK && table < TABLES; table++) {
        struct ArrowArrayStream stream;
        struct ArrowSchema schema;
        struct ArrowArray array;
        rc = pra_arrow_export(req, table, &f->alloc, &schema, &array, NULL);
        if (rc)
            break;
        array.release(&array);
        schema.release(&schema);
        rc = pra_arrow_stream(req, table, &f->alloc, &stream, NULL);
        if (rc)
            break;
        if (stream.get_schema(&stream, &schema) == 0)
            schema.release(&schema);
        else
            rc = strcmp(stream.get_last_error(&stream), pra_strerror(PRA_ERR_NOMEM))
                     ? PRA_ERR_STATE
                     : PRA_ERR_NOMEM;
        stream.release(&stream);
    }
    assert_true(may_change(req));
    return rc;
}

static void every_allocation_may_fail(void **state)
{
    static const struct {
        const char *folder, *name;
        int32_t version;
    } messages[] = {{"golden/write_v1", "everything.hex", PRA_WRITE_V1},
                    {"golden/write_v2", "everything.hex", PRA_WRITE_V2}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct text message = message_in(messages[i].folder, messages[i].name);
        pra_write_request *decoded = new_request(NULL), *req = new_request(NULL);
        assert_int_equal(pra_write_request_decode(decoded, messages[i].version, message.data,
                                                  message.len, NULL, NULL),
                         PRA_OK);
        assert_null(failing_alloc_loop(export_all, req));
        assert_null(failing_alloc_loop(export_all, decoded));
        pra_write_request_free(decoded);
        pra_write_request_free(req);
        text_free(&message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_requests_are_exported_as_they_are),
        cmocka_unit_test(wrong_references_are_empty_strings),
        cmocka_unit_test(histograms_of_both_kinds),
        cmocka_unit_test(children_outlive_their_parent_on_any_thread),
        cmocka_unit_test(children_of_a_schema_and_dictionaries_outlive_it),
        cmocka_unit_test(a_stream_gives_one_array),
        cmocka_unit_test(wrong_calls_are_refused),
        cmocka_unit_test(labels_that_are_no_utf8_are_refused),
        cmocka_unit_test(what_arrow_cannot_count_is_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
