/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/failing_alloc.h"
#include "support/message_gen.h"
#include "support/oracle.h"
#include "unit/write_fixture.h"

static void a_built_request_is_written_field_by_field(void **state)
{
    const pra_label labels[] = {{STR("__name__"), STR("up")}, {STR("job"), STR("a\0b")}};
    const pra_label trace[] = {{STR("trace_id"), STR("x")}};
    const int64_t timestamps[] = {1, 300};
    const double values[] = {1.0, 2.5};
    pra_write_request *req = new_request(NULL);
    (void)state;
    assert_int_equal(pra_write_request_add_series(req, labels, 2), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, timestamps, values, NULL, 2), PRA_OK);
    assert_int_equal(pra_write_request_add_exemplar(req, trace, 1, 7, 0.5), PRA_OK);
    assert_int_equal(
        pra_write_request_add_metadata(req, PRA_METRIC_GAUGE, STR("up"), STR("h"), STR("u")),
        PRA_OK);
    assert_int_equal(pra_write_request_version(req), 0);
    assert_encodes_to(req, PRA_WRITE_V1,
                      "0a 53"
                      "0a 0e 0a08 5f5f6e616d655f5f 1202 7570"
                      "0a 0a 0a03 6a6f62 1203 610062"
                      "12 0b 09 000000000000f03f 10 01"
                      "12 0c 09 0000000000000440 10 ac02"
                      "1a 1a 0a 0d 0a08 74726163655f6964 1201 78 11 000000000000e03f 18 07"
                      "1a 0c 0802 1202 7570 2201 68 2a01 75");
    pra_write_request_free(req);
}

/* proto3: zeros are not written, but -0 and NaNs are no zeros [W-40] [W-42]. */
static void only_true_zeros_are_left_out(void **state)
{
    static const uint64_t bits[] = {0, UINT64_C(1) << 63, PRA_STALE_NAN_BITS};
    const int64_t timestamps[] = {0, 0, -1};
    double values[3];
    pra_write_request *req = new_request(NULL);
    (void)state;
    memcpy(values, bits, sizeof(values));
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, timestamps, values, NULL, 3), PRA_OK);
    assert_encodes_to(req, PRA_WRITE_V1,
                      "0a 23 1200 1209 09 0000000000000080"
                      "1214 09 020000000000f07f 10 ffffffffffffffffff01");
    pra_write_request_free(req);
}

static void empty_things_are_written_as_empty(void **state)
{
    const pra_label nothing = {{NULL, 0}, {NULL, 0}};
    pra_write_request *req = new_request(NULL);
    (void)state;
    assert_encodes_to(req, PRA_WRITE_V1, "");
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_OK);
    assert_int_equal(pra_write_request_add_series(req, &nothing, 1), PRA_OK);
    assert_int_equal(pra_write_request_add_exemplar(req, NULL, 0, 0, 0.0), PRA_OK);
    assert_encodes_to(req, PRA_WRITE_V1, "0a00 0a04 0a00 1a00");
    pra_write_request_free(req);
}

/* Whatever decodes comes back the same, and nanopb reads it the same. */
static void random_messages_survive(void **state)
{
    struct message_gen g = {.random = 99, .groups = 1};
    (void)state;
    for (int i = 0; i < 2000; i++) {
        struct text message = {0}, theirs = {0};
        pra_write_request *req = new_request(NULL), *again = new_request(NULL);
        gen_write_v1(&g, &message);
        assert_int_equal(
            pra_write_request_decode(req, PRA_WRITE_V1, message.data, message.len, NULL, NULL),
            PRA_OK);
        struct text encoded = encoding_of(req, PRA_WRITE_V1);
        assert_int_equal(
            pra_write_request_decode(again, PRA_WRITE_V1, encoded.data, encoded.len, NULL, NULL),
            PRA_OK);
        struct text one = events_of(req), two = events_of(again),
                    once_more = encoding_of(again, PRA_WRITE_V1);
        text_bytes(&theirs, "", 0);
        assert_null(oracle_write_v1(encoded.data, encoded.len, &theirs));
        assert_string_equal(one.data, two.data);
        assert_string_equal(one.data, theirs.data);
        assert_int_equal(encoded.len, once_more.len);
        if (encoded.len)
            assert_memory_equal(encoded.data, once_more.data, encoded.len);
        text_free(&one);
        text_free(&two);
        text_free(&theirs);
        text_free(&once_more);
        text_free(&encoded);
        text_free(&message);
        pra_write_request_free(req);
        pra_write_request_free(again);
    }
}

/* ---- building */

/* Rebuilds a decoded request series by series. */
static int rebuild(pra_write_request *to, const pra_columns *c)
{
    int rc = PRA_OK;
    for (size_t i = 0; rc == PRA_OK && i < c->series_count; i++) {
        pra_series s = {.size = sizeof(s)};
        pra_label labels[64];
        (void)pra_columns_series(c, i, &s);
        for (size_t j = 0; j < s.label_count; j++)
            labels[j] = (pra_label){{c->base + s.labels[j].name.off, s.labels[j].name.len},
                                    {c->base + s.labels[j].value.off, s.labels[j].value.len}};
        rc = pra_write_request_add_series(to, labels, s.label_count);
        if (rc == PRA_OK)
            rc = pra_write_request_add_samples(to, s.timestamps_ms, s.values, NULL, s.sample_count);
        for (size_t j = c->exemplar_offsets[i]; rc == PRA_OK && j < c->exemplar_offsets[i + 1];
             j++) {
            size_t n = 0;
            for (size_t k = c->exemplar_label_offsets[j]; k < c->exemplar_label_offsets[j + 1]; k++)
                labels[n++] = (pra_label){
                    {c->base + c->exemplar_labels[k].name.off, c->exemplar_labels[k].name.len},
                    {c->base + c->exemplar_labels[k].value.off, c->exemplar_labels[k].value.len}};
            rc = pra_write_request_add_exemplar(to, labels, n, c->exemplar_timestamps_ms[j],
                                                c->exemplar_values[j]);
        }
        for (size_t j = c->histogram_offsets[i]; rc == PRA_OK && j < c->histogram_offsets[i + 1];
             j++)
            rc = pra_write_request_add_histogram(to, c, j);
    }
    for (size_t i = 0; rc == PRA_OK && i < c->metadata_count; i++) {
        const pra_metadata *m = &c->metadata[i];
        rc = pra_write_request_add_metadata(to, m->type,
                                            (pra_str){c->base + m->family.off, m->family.len},
                                            (pra_str){c->base + m->help.off, m->help.len},
                                            (pra_str){c->base + m->unit.off, m->unit.len});
    }
    return rc;
}

/* Metadata that stands alone and names no family cannot be built: that is how 2.0's is told. */
static int can_be_built(const pra_columns *c)
{
    for (size_t i = 0; i < c->metadata_count; i++)
        if (c->metadata[i].series == UINT32_MAX && c->metadata[i].family.len == 0)
            return 0;
    return 1;
}

static void what_is_built_is_what_was_decoded(void **state)
{
    struct message_gen g = {.random = 4, .groups = 0};
    size_t built_count = 0;
    pra_write_request *built = new_request(NULL), *req = new_request(NULL);
    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct text message = {0};
        pra_columns c = {.size = sizeof(c)};
        gen_write_v1(&g, &message);
        assert_int_equal(
            pra_write_request_decode(req, PRA_WRITE_V1, message.data, message.len, NULL, NULL),
            PRA_OK);
        assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
        pra_write_request_reset(built);
        if (!can_be_built(&c)) {
            text_free(&message);
            continue;
        }
        built_count++;
        assert_int_equal(rebuild(built, &c), PRA_OK);
        struct text one = events_of(req), two = events_of(built);
        assert_string_equal(one.data, two.data);
        struct text a = encoding_of(req, PRA_WRITE_V1), b = encoding_of(built, PRA_WRITE_V1);
        assert_int_equal(a.len, b.len);
        if (a.len)
            assert_memory_equal(a.data, b.data, a.len);
        text_free(&a);
        text_free(&b);
        text_free(&one);
        text_free(&two);
        text_free(&message);
    }
    assert_true(built_count > 500);
    pra_write_request_free(req);
    pra_write_request_free(built);
}

static int build_and_encode(struct failing_alloc *f, void *arg)
{
    pra_write_request *req = NULL;
    pra_buffer *out = NULL;
    int rc = pra_write_request_new(&f->alloc, &req);
    if (rc == PRA_OK)
        rc = rebuild(req, arg);
    if (rc == PRA_OK)
        rc = pra_buffer_new(&f->alloc, &out);
    if (rc == PRA_OK)
        rc = pra_write_request_encode(req, PRA_WRITE_V1, out, NULL);
    if (rc && out)
        assert_int_equal(pra_buffer_len(out), 0);
    pra_buffer_free(out);
    pra_write_request_free(req);
    return rc;
}

static void running_out_of_memory_leaves_nothing(void **state)
{
    struct text message = message_in("golden/write_v1", "everything.hex"), many = {0};
    pra_write_request *req = new_request(NULL);
    pra_columns c = {.size = sizeof(c)};
    (void)state;
    for (int i = 0; i < 40; i++)
        text_append(&many, &message);
    assert_int_equal(pra_write_request_decode(req, PRA_WRITE_V1, many.data, many.len, NULL, NULL),
                     PRA_OK);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    const char *wrong = failing_alloc_loop(build_and_encode, &c);
    if (wrong)
        fail_msg("%s", wrong);
    pra_write_request_free(req);
    text_free(&many);
    text_free(&message);
}

static void calls_in_the_wrong_order_are_refused(void **state)
{
    const int64_t timestamp = 1;
    const double value = 1;
    const pra_label broken = {{NULL, 3}, {NULL, 0}};
    pra_write_request *req = new_request(NULL);
    pra_columns c = {.size = sizeof(c)};
    pra_buffer *out;
    (void)state;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, &timestamp, &value, NULL, 1),
                     PRA_ERR_STATE);
    assert_int_equal(pra_write_request_add_exemplar(req, NULL, 0, 1, 1), PRA_ERR_STATE);
    assert_int_equal(pra_write_request_add_series(req, &broken, 1), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_write_request_add_series(req, NULL, 1), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, NULL, &value, NULL, 1),
                     PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    assert_int_equal(c.series_count, 1);
    assert_int_equal(pra_write_request_add_histogram(req, &c, 0), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_write_request_decode(req, PRA_WRITE_V1, "", 0, NULL, NULL), PRA_OK);
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_ERR_STATE);
    pra_write_request_reset(req);
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_OK);
    assert_int_equal(pra_write_request_encode(req, 3, out, NULL), PRA_ERR_NOT_SUPPORTED);
    assert_int_equal(pra_write_request_encode(req, PRA_WRITE_V1, NULL, NULL), PRA_ERR_INVALID_ARG);
    pra_buffer_free(out);
    pra_write_request_free(req);
}

/* A histogram whose ranges do not fit its columns is not followed. */
static void ranges_beyond_the_columns_are_refused(void **state)
{
    pra_histogram h = {.positive_deltas = {1, 1}};
    const int64_t delta = 5;
    pra_columns c = {.size = sizeof(c), .histograms = &h, .histogram_count = 1};
    pra_write_request *req = new_request(NULL);
    (void)state;
    c.positive_deltas = &delta;
    c.positive_delta_count = 1;
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_OK);
    assert_int_equal(pra_write_request_add_histogram(req, &c, 0), PRA_ERR_INVALID_ARG);
    h.positive_deltas = (pra_range){0, UINT32_MAX};
    assert_int_equal(pra_write_request_add_histogram(req, &c, 0), PRA_ERR_INVALID_ARG);
    h.positive_deltas = (pra_range){0, 1};
    assert_int_equal(pra_write_request_add_histogram(req, &c, 0), PRA_OK);
    assert_encodes_to(req, PRA_WRITE_V1, "0a 09 22 07 0800 3000 6201 0a");
    pra_write_request_free(req);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_built_request_is_written_field_by_field),
        cmocka_unit_test(only_true_zeros_are_left_out),
        cmocka_unit_test(empty_things_are_written_as_empty),
        cmocka_unit_test(random_messages_survive),
        cmocka_unit_test(what_is_built_is_what_was_decoded),
        cmocka_unit_test(running_out_of_memory_leaves_nothing),
        cmocka_unit_test(calls_in_the_wrong_order_are_refused),
        cmocka_unit_test(ranges_beyond_the_columns_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
