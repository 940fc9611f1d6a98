/* SPDX-License-Identifier: Apache-2.0 */
/* What is exported and put together as a table of either shape comes back as the same answer. Types
 * and layouts of others are in tests/arrow. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "message/series_sink.h"
#include "support/failing_alloc.h"
#include "unit/arrow_fixture.h"

enum { COLUMNS = 3 };

/* A table whose columns are exported ones, or stand on the request's memory. */
struct table {
    struct ArrowSchema schema, column_schemas[COLUMNS], item_schemas[2], *schemas[COLUMNS],
        *items_of[2];
    struct ArrowArray array, columns[COLUMNS], items[2], *arrays[COLUMNS], *items_at[2];
    const void *no_bitmap[1], *lists[2][2], *ids[2], *id_texts[3];
    struct ArrowSchema text_schema;
    struct ArrowArray text;
    int32_t *text_offsets;
    char *text_bytes;
    int fails; /* get_schema (1) or get_next (2) */
};

static void forget_schema(struct ArrowSchema *s)
{
    for (int64_t i = 0; i < s->n_children; i++)
        if (s->children[i]->release)
            s->children[i]->release(s->children[i]);
    s->release = NULL;
}

static void forget_array(struct ArrowArray *a)
{
    for (int64_t i = 0; i < a->n_children; i++)
        if (a->children[i]->release)
            a->children[i]->release(a->children[i]);
    a->release = NULL;
}

static int give_schema(struct ArrowArrayStream *s, struct ArrowSchema *out)
{
    struct table *t = s->private_data;
    if (t->fails == 1)
        return EIO;
    *out = t->schema;
    t->schema.release = NULL;
    return 0;
}

static int give_array(struct ArrowArrayStream *s, struct ArrowArray *out)
{
    struct table *t = s->private_data;
    if (t->fails == 2)
        return ENOMEM;
    *out = t->array;
    t->array.release = NULL;
    return 0;
}

static const char *say_nothing(struct ArrowArrayStream *s)
{
    (void)s;
    return NULL;
}

static void release_table(struct ArrowArrayStream *s)
{
    struct table *t = s->private_data;
    if (t->schema.release)
        t->schema.release(&t->schema);
    if (t->array.release)
        t->array.release(&t->array);
    free(t->text_offsets);
    free(t->text_bytes);
    free(t);
    s->release = NULL;
}

static struct table *new_table(int64_t rows, struct ArrowArrayStream *out)
{
    struct table *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    for (int i = 0; i < COLUMNS; i++) {
        t->schemas[i] = &t->column_schemas[i];
        t->arrays[i] = &t->columns[i];
    }
    t->schema = (struct ArrowSchema){
        .format = "+s", .n_children = COLUMNS, .children = t->schemas, .release = forget_schema};
    t->array = (struct ArrowArray){.length = rows,
                                   .n_buffers = 1,
                                   .buffers = t->no_bitmap,
                                   .n_children = COLUMNS,
                                   .children = t->arrays,
                                   .release = forget_array};
    *out = (struct ArrowArrayStream){give_schema, give_array, say_nothing, release_table, t};
    return t;
}

/* Column i of what was exported becomes that one. */
static void move_column(struct ArrowSchema *schema, struct ArrowArray *array, int i,
                        const char *name, struct ArrowSchema *to_schema,
                        struct ArrowArray *to_array)
{
    *to_schema = *schema->children[i];
    *to_array = *array->children[i];
    to_schema->name = name;
    schema->children[i]->release = NULL;
    array->children[i]->release = NULL;
}

static void export_table(const pra_write_request *req, int32_t table, struct ArrowSchema *schema,
                         struct ArrowArray *array)
{
    assert_int_equal(pra_arrow_export(req, table, NULL, schema, array, NULL), PRA_OK);
}

/* A row a series: lists of the request's samples. */
static void wide_table(const pra_write_request *req, struct ArrowArrayStream *out)
{
    static const char *const names[] = {"timestamps", "values"};
    const pra_columns c = view_of(req);
    struct table *t = new_table((int64_t)c.series_count, out);
    struct ArrowSchema schema;
    struct ArrowArray array;
    export_table(req, PRA_ARROW_SAMPLES, &schema, &array);
    for (int i = 0; i < 2; i++) {
        move_column(&schema, &array, 1 + i, "item", &t->item_schemas[i], &t->items[i]);
        t->items_of[i] = &t->item_schemas[i];
        t->items_at[i] = &t->items[i];
        t->lists[i][1] = c.sample_offsets;
        t->column_schemas[i] = (struct ArrowSchema){.format = "+l",
                                                    .name = names[i],
                                                    .n_children = 1,
                                                    .children = &t->items_of[i],
                                                    .release = forget_schema};
        t->columns[i] = (struct ArrowArray){.length = (int64_t)c.series_count,
                                            .n_buffers = 2,
                                            .buffers = t->lists[i],
                                            .n_children = 1,
                                            .children = &t->items_at[i],
                                            .release = forget_array};
    }
    schema.release(&schema);
    array.release(&array);
    export_table(req, PRA_ARROW_SERIES, &schema, &array);
    move_column(&schema, &array, 3, "labels", &t->column_schemas[2], &t->columns[2]);
    schema.release(&schema);
    array.release(&array);
}

/* A text for each series. */
static void make_ids(struct table *t, size_t count)
{
    t->text_offsets = calloc(count + 1, sizeof(int32_t));
    t->text_bytes = malloc(count * 12 + 1);
    assert_non_null(t->text_offsets);
    assert_non_null(t->text_bytes);
    for (size_t i = 0; i < count; i++)
        t->text_offsets[i + 1] =
            t->text_offsets[i] + sprintf(t->text_bytes + t->text_offsets[i], "id %d", (int)i);
    t->id_texts[1] = t->text_offsets;
    t->id_texts[2] = t->text_bytes;
    t->text_schema = (struct ArrowSchema){.format = "u", .release = forget_schema};
    t->text = (struct ArrowArray){
        .length = (int64_t)count, .n_buffers = 3, .buffers = t->id_texts, .release = forget_array};
}

/* A row a sample: the column series gives the number of a label "id" in a dictionary. */
static void long_table(const pra_write_request *req, struct ArrowArrayStream *out)
{
    const pra_columns c = view_of(req);
    struct table *t = new_table((int64_t)c.sample_count, out);
    struct ArrowSchema schema;
    struct ArrowArray array;
    export_table(req, PRA_ARROW_SAMPLES, &schema, &array);
    move_column(&schema, &array, 1, "timestamp", &t->column_schemas[0], &t->columns[0]);
    move_column(&schema, &array, 2, "value", &t->column_schemas[1], &t->columns[1]);
    move_column(&schema, &array, 0, "id", &t->column_schemas[2], &t->columns[2]);
    make_ids(t, c.series_count);
    t->column_schemas[2].dictionary = &t->text_schema;
    t->columns[2].dictionary = &t->text;
    schema.release(&schema);
    array.release(&array);
}

/* ---- what is expected: the same series, added without Arrow */

static pra_series_sink *new_sink(void)
{
    pra_series_sink *sink;
    assert_int_equal(pra_series_sink_new(NULL, INT64_MIN, INT64_MAX, NULL, &sink), PRA_OK);
    return sink;
}

static struct text answer_of(pra_series_sink *sink)
{
    const pra_series_sink *const sinks[] = {sink};
    struct text t = {0};
    pra_buffer *out;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_read_response_encode(sinks, 1, out, NULL), PRA_OK);
    text_bytes(&t, pra_buffer_data(out), pra_buffer_len(out));
    pra_buffer_free(out);
    pra_series_sink_free(sink);
    return t;
}

static struct text direct_answer(const pra_write_request *req, int by_id)
{
    const pra_columns c = view_of(req);
    pra_series_sink *sink = new_sink();
    for (size_t i = 0; i < c.series_count; i++) {
        pra_series s = {.size = sizeof(s)};
        pra_label labels[5];
        char id[16];
        assert_int_equal(pra_columns_series(&c, i, &s), PRA_OK);
        for (size_t j = 0; j < s.label_count && !by_id; j++)
            labels[j] = (pra_label){{c.base + s.labels[j].name.off, s.labels[j].name.len},
                                    {c.base + s.labels[j].value.off, s.labels[j].value.len}};
        if (by_id)
            labels[0] = (pra_label){STR("id"), {id, (size_t)sprintf(id, "id %d", (int)i)}};
        assert_int_equal(pra_series_sink_add(sink, labels, by_id ? 1 : s.label_count,
                                             s.timestamps_ms, s.values, s.sample_count, NULL),
                         PRA_OK);
    }
    return answer_of(sink);
}

static void what_is_exported_comes_back(void **state)
{
    static void (*const make[])(const pra_write_request *,
                                struct ArrowArrayStream *) = {wide_table, long_table};
    uint64_t random = 13;
    (void)state;
    for (int round = 0; round < 500; round++) {
        pra_write_request *req = random_request(&random);
        for (int shape = 0; shape < 2; shape++) {
            struct ArrowArrayStream stream;
            pra_series_sink *sink = new_sink();
            make[shape](req, &stream);
            assert_int_equal(pra_arrow_push(&stream, sink, NULL, NULL, NULL), PRA_OK);
            assert_null(stream.release);
            struct text got = answer_of(sink), expected = direct_answer(req, shape);
            assert_same_text(&got, &expected);
            text_free(&got);
            text_free(&expected);
        }
        pra_write_request_free(req);
    }
}

/* ---- failures */

static void a_stream_is_released_whatever_happens(void **state)
{
    static const int expected[] = {PRA_OK, PRA_ERR_CALLBACK, PRA_ERR_NOMEM};
    uint64_t random = 1;
    pra_write_request *req = random_request(&random);
    struct ArrowArrayStream stream;
    pra_error err = {0};
    (void)state;
    for (int fails = 0; fails < 3; fails++) {
        pra_series_sink *sink = new_sink();
        long_table(req, &stream);
        ((struct table *)stream.private_data)->fails = fails;
        assert_int_equal(pra_arrow_push(&stream, sink, NULL, NULL, &err), expected[fails]);
        assert_null(stream.release);
        pra_series_sink_free(sink);
    }
    long_table(req, &stream);
    assert_int_equal(pra_arrow_push(&stream, NULL, NULL, NULL, &err), PRA_ERR_INVALID_ARG);
    assert_null(stream.release);
    assert_int_equal(pra_arrow_push(&stream, NULL, NULL, NULL, &err), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_arrow_push(NULL, NULL, NULL, NULL, &err), PRA_ERR_INVALID_ARG);
    pra_write_request_free(req);
}

static void table_that_is_too_long_is_refused(void **state)
{
    uint64_t random = 21;
    pra_write_request *req = random_request(&random);
    struct ArrowArrayStream stream;
    pra_series_sink *sink = new_sink();
    pra_error err = {0};
    (void)state;
    long_table(req, &stream);
    struct table *t = stream.private_data;
    t->array.length = INT64_MAX;
    t->array.offset = INT64_MAX / 2;
    assert_int_equal(pra_arrow_push(&stream, sink, NULL, NULL, &err), PRA_ERR_INVALID_ARG);
    assert_non_null(strstr(err.message, "that long"));
    pra_series_sink_free(sink);
    pra_write_request_free(req);
}

/* Damages one thing in a table and expects that it is found. */
static void broken_arrays_are_refused(void **state)
{
    uint64_t random = 21;
    pra_write_request *req = random_request(&random);
    (void)state;
    assert_true(view_of(req).sample_count > 2);
    for (int damage = 0; damage < 12; damage++) {
        static const int32_t turned[] = {0, 2, 1}, beyond[] = {0, 1 << 20, 1 << 21};
        struct ArrowArrayStream stream;
        pra_series_sink *sink = new_sink();
        pra_error err = {0};
        if (damage < 6)
            wide_table(req, &stream);
        else
            long_table(req, &stream);
        struct table *t = stream.private_data;
        const char *named = t->column_schemas[damage == 4                 ? 1
                                              : damage == 5 || damage > 7 ? 2
                                                                          : 0]
                                .name;
        switch (damage) {
        case 0:
            t->array.length = t->columns[0].length = 2;
            t->lists[0][1] = turned;
            break;
        case 1:
            t->array.length = t->columns[0].length = 2;
            t->lists[0][1] = beyond;
            break;
        case 2:
            t->columns[0].length--;
            break;
        case 3:
            t->lists[0][1] = NULL;
            break;
        case 4:
            t->items[1].release(&t->items[1]);
            t->columns[1].n_children = 0;
            break;
        case 5:
            t->columns[2].children[0]->children[0]->dictionary->length = 0;
            break;
        case 6:
            t->columns[0].offset = INT64_MAX;
            break;
        case 7:
            t->columns[0].n_buffers = 1;
            break;
        case 8:
            t->columns[2].dictionary = NULL;
            break;
        case 9:
            t->text.length = 0;
            break;
        case 10:
            t->text.n_buffers = 2;
            break;
        default:
            for (size_t i = 0; i <= view_of(req).series_count; i++)
                t->text_offsets[i] = -(int32_t)i;
        }
        assert_int_equal(pra_arrow_push(&stream, sink, NULL, NULL, &err), PRA_ERR_INVALID_ARG);
        assert_non_null(strstr(err.message, named));
        pra_series_sink_free(sink);
    }
    pra_write_request_free(req);
}

static void tables_that_are_none_are_refused(void **state)
{
    uint64_t random = 2;
    pra_write_request *req = random_request(&random);
    (void)state;
    for (int damage = 0; damage < 3; damage++) {
        struct ArrowArrayStream stream;
        pra_series_sink *sink = new_sink();
        static const uint8_t nulls[64];
        long_table(req, &stream);
        struct table *t = stream.private_data;
        if (damage == 0)
            t->schema.format = "+l";
        if (damage == 1) {
            forget_array(&t->array);
            t->array.release = forget_array;
            t->array.n_children = 0;
        }
        if (damage == 2) {
            t->no_bitmap[0] = nulls;
            t->array.null_count = -1;
        }
        assert_int_equal(pra_arrow_push(&stream, sink, NULL, NULL, NULL), PRA_ERR_INVALID_ARG);
        pra_series_sink_free(sink);
    }
    pra_write_request_free(req);
}

/* A sink that takes no more samples: its code, and no more of the table. */
static void what_the_sink_says_is_returned(void **state)
{
    uint64_t random = 31;
    pra_write_request *req = random_request(&random);
    pra_limits limits = {.size = sizeof(limits), .max_read_samples = 1};
    (void)state;
    for (int shape = 0; shape < 2; shape++) {
        struct ArrowArrayStream stream;
        pra_series_sink *sink;
        pra_error err = {0};
        assert_int_equal(pra_series_sink_new(NULL, INT64_MIN, INT64_MAX, &limits, &sink), PRA_OK);
        if (shape)
            long_table(req, &stream);
        else
            wide_table(req, &stream);
        assert_int_equal(pra_arrow_push(&stream, sink, NULL, NULL, &err), PRA_ERR_SAMPLE_LIMIT);
        assert_int_equal(err.code, PRA_ERR_SAMPLE_LIMIT);
        pra_series_sink_free(sink);
    }
    pra_write_request_free(req);
}

/* In a streamed answer of an ordered storage: the table is taken, the next one may wait. */
static void enough_is_said_when_all_is_taken(void **state)
{
    static const char *const values[] = {"a", "b", "c"};
    pra_write_request *req = new_request(NULL);
    (void)state;
    for (int i = 0; i < 3; i++) {
        const pra_label label = {STR("n"), {values[i], 1}};
        assert_int_equal(pra_write_request_add_series(req, &label, 1), PRA_OK);
        assert_int_equal(pra_write_request_add_samples(req, &(int64_t){1}, &(double){1}, NULL, 1),
                         PRA_OK);
    }
    for (int round = 0; round < 4; round++) {
        const int is_long = round % 2, little = round < 2;
        struct ArrowArrayStream stream;
        pra_series_sink *sink = new_sink();
        pra_buffer *out;
        assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
        pra__series_sink_stream(sink, 0, out);
        pra__series_sink_order(sink, little ? 1 : 1 << 20);
        if (is_long)
            long_table(req, &stream);
        else
            wide_table(req, &stream);
        assert_int_equal(pra_arrow_push(&stream, sink, NULL, NULL, NULL),
                         little ? PRA_DONE : PRA_OK);
        assert_int_equal(pra_series_sink_series_count(sink), 3);
        pra_series_sink_free(sink);
        pra_buffer_free(out);
    }
    pra_write_request_free(req);
}

struct shape {
    const pra_write_request *req;
    int is_long;
    uint64_t max_memory_bytes;
};

static int push_with(struct failing_alloc *f, void *arg)
{
    const struct shape *s = arg;
    const pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = s->max_memory_bytes};
    struct ArrowArrayStream stream;
    pra_series_sink *sink = new_sink();
    if (s->is_long)
        long_table(s->req, &stream);
    else
        wide_table(s->req, &stream);
    int rc = pra_arrow_push(&stream, sink, &f->alloc, &limits, NULL);
    pra_series_sink_free(sink);
    return rc;
}

static void every_allocation_may_fail(void **state)
{
    uint64_t random = 17;
    (void)state;
    for (int round = 0; round < 10; round++) {
        pra_write_request *req = random_request(&random);
        for (int is_long = 0; is_long < 2; is_long++) {
            struct shape s = {req, is_long, 0};
            assert_null(failing_alloc_loop(push_with, &s));
        }
        pra_write_request_free(req);
    }
}

/* The budget is for all that grows with the rows; the plan and a label set come on top. */
static void memory_stays_within_the_budget(void **state)
{
    enum { SAMPLES = 20000, BESIDES = 4096 };
    static int64_t times[SAMPLES];
    static double values[SAMPLES];
    pra_write_request *req = new_request(NULL);
    int refused = 0, taken = 0;
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_OK);
        assert_int_equal(pra_write_request_add_samples(req, times, values, NULL, SAMPLES), PRA_OK);
    }
    for (uint64_t budget = 1000; budget < 4000000; budget *= 2) {
        for (int is_long = 0; is_long < 2; is_long++) {
            struct shape s = {req, is_long, budget};
            struct failing_alloc f;
            failing_alloc_init(&f);
            int rc = push_with(&f, &s);
            assert_true(rc == PRA_OK || rc == PRA_ERR_MEMORY_BUDGET);
            assert_true(f.peak <= budget + BESIDES);
            assert_int_equal(f.live, 0);
            refused += rc != PRA_OK;
            taken += rc == PRA_OK;
        }
    }
    assert_true(refused > 4 && taken > 4);
    pra_write_request_free(req);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_exported_comes_back),
        cmocka_unit_test(a_stream_is_released_whatever_happens),
        cmocka_unit_test(broken_arrays_are_refused),
        cmocka_unit_test(table_that_is_too_long_is_refused),
        cmocka_unit_test(tables_that_are_none_are_refused),
        cmocka_unit_test(what_the_sink_says_is_returned),
        cmocka_unit_test(enough_is_said_when_all_is_taken),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(memory_stays_within_the_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
