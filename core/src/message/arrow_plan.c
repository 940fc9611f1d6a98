/* SPDX-License-Identifier: Apache-2.0 */
#include "message/arrow_plan.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

#define PAIRS "a map or list of pairs of strings, or a struct of strings"

/* ---- from the type */

static const char *name_of(const struct ArrowSchema *schema)
{
    return schema->name ? schema->name : "";
}

static int64_t find(const struct ArrowSchema *table, const char *name)
{
    for (int64_t i = 0; i < table->n_children; i++)
        if (strcmp(name_of(table->children[i]), name) == 0)
            return i;
    return -1;
}

static int find_data(struct pra__arrow_plan *p, const struct ArrowSchema *table, pra_error *err)
{
    p->wide = find(table, "timestamps") >= 0 || find(table, "values") >= 0;
    p->time = find(table, p->wide ? "timestamps" : "timestamp");
    p->value = find(table, p->wide ? "values" : "value");
    p->labels = find(table, "labels");
    if (p->time >= 0 && p->value >= 0)
        return PRA_OK;
    return pra__error(err, PRA_ERR_INVALID_ARG, 0,
                      "there is no column \"%s%s\"; a table has timestamp and value, or lists "
                      "timestamps and values",
                      p->time < 0 ? "timestamp" : "value", p->wide ? "s" : "");
}

static int plan_data(struct pra__arrow_plan *p, const struct ArrowSchema *table, pra_error *err)
{
    const struct ArrowSchema *time = table->children[p->time];
    const struct ArrowSchema *value = table->children[p->value];
    p->times.column = p->times_list.column = name_of(time);
    p->values.column = p->values_list.column = name_of(value);
    if (p->wide) {
        p->times_list.type = pra__arrow_list_type(time);
        p->values_list.type = pra__arrow_list_type(value);
        if (!p->times_list.type.layout)
            return pra__arrow_wrong_type(name_of(time), "lists of timestamps", err);
        if (!p->values_list.type.layout)
            return pra__arrow_wrong_type(name_of(value), "lists of numbers", err);
        time = time->children[0];
        value = value->children[0];
    }
    if (!(p->times.format = pra__arrow_time_type(time)))
        return pra__arrow_wrong_type(p->times.column,
                                     p->wide ? "lists of timestamps, or of int64 (milliseconds)"
                                             : "a timestamp, or int64 (milliseconds)",
                                     err);
    if (!(p->values.format = pra__arrow_number_type(value)))
        return pra__arrow_wrong_type(
            p->values.column, p->wide ? "lists of floats or integers" : "a float or an integer",
            err);
    return PRA_OK;
}

static int is_struct(const struct ArrowSchema *schema)
{
    return !schema->dictionary && strcmp(schema->format, "+s") == 0;
}

static int is_null_type(const struct ArrowSchema *schema)
{
    return strcmp(schema->format, "n") == 0;
}

/* What pandas makes of the index of a DataFrame that was filtered or joined: row numbers. */
static int is_unnamed_index(const struct ArrowSchema *schema)
{
    static const char begin[] = "__index_level_";
    return strncmp(name_of(schema), begin, sizeof begin - 1) == 0;
}

/* A column of strings; one that is null everywhere is left out. */
static int add_column(struct pra__arrow_plan *p, const struct ArrowSchema *of, int64_t child,
                      pra_error *err)
{
    const struct ArrowSchema *schema = of->children[child];
    struct pra__arrow_label_column *column = &p->columns[p->column_count];
    *column = (struct pra__arrow_label_column){.child = child};
    column->name = (pra_str){name_of(schema), strlen(name_of(schema))};
    column->text.column = name_of(schema);
    column->text.type = pra__arrow_text_type(schema);
    if (is_null_type(schema))
        return PRA_OK;
    if (!column->text.type.layout)
        return pra__arrow_wrong_type(name_of(schema), "strings (a label), or be left out", err);
    p->column_count++;
    return PRA_OK;
}

static int plan_pairs(struct pra__arrow_plan *p, const struct ArrowSchema *labels, pra_error *err)
{
    const struct ArrowSchema *pair = labels->children[0];
    if (!is_struct(pair) || pair->n_children != 2)
        return pra__arrow_wrong_type(name_of(labels), PAIRS, err);
    p->labels_kind = PRA__LABELS_LIST;
    p->pair_name.type = pra__arrow_text_type(pair->children[0]);
    p->pair_value.type = pra__arrow_text_type(pair->children[1]);
    p->pairs.column = p->pair_name.column = p->pair_value.column = name_of(labels);
    return p->pair_name.type.layout && p->pair_value.type.layout
               ? PRA_OK
               : pra__arrow_wrong_type(name_of(labels), PAIRS, err);
}

static int plan_labels(struct pra__arrow_plan *p, const struct ArrowSchema *labels, pra_error *err)
{
    if (is_null_type(labels))
        return PRA_OK;
    p->pairs.type = pra__arrow_list_type(labels);
    if (p->pairs.type.layout)
        return plan_pairs(p, labels, err);
    if (!is_struct(labels))
        return pra__arrow_wrong_type(name_of(labels), PAIRS, err);
    p->labels_kind = PRA__LABELS_STRUCT;
    for (int64_t i = 0; i < labels->n_children; i++) {
        const size_t before = p->column_count;
        int rc = add_column(p, labels, i, err);
        if (rc)
            return rc;
        for (size_t j = before; j < p->column_count; j++)
            p->columns[j].of_labels = 1;
    }
    return PRA_OK;
}

static size_t most_columns(const struct pra__arrow_plan *p, const struct ArrowSchema *table)
{
    const int64_t in_struct = p->labels >= 0 ? table->children[p->labels]->n_children : 0;
    return (size_t)(table->n_children + in_struct);
}

int pra__arrow_plan_make(struct pra__arrow_plan *p, const pra_alloc *alloc,
                         const struct ArrowSchema *table, pra_error *err)
{
    *p = (struct pra__arrow_plan){.labels = -1};
    if (!is_struct(table))
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG,
                                  "the Arrow stream is of arrays that are no tables");
    int rc = find_data(p, table, err);
    if (rc == PRA_OK)
        rc = plan_data(p, table, err);
    if (rc)
        return rc;
    p->columns = pra__malloc(alloc, most_columns(p, table) * sizeof(*p->columns));
    if (!p->columns)
        return pra__nomem(err);
    p->column_room = most_columns(p, table);
    for (int64_t i = 0; rc == PRA_OK && i < table->n_children; i++) {
        if (i == p->labels)
            rc = plan_labels(p, table->children[i], err);
        else if (i != p->time && i != p->value && !is_unnamed_index(table->children[i]))
            rc = add_column(p, table, i, err);
    }
    return rc;
}

void pra__arrow_plan_fini(struct pra__arrow_plan *p, const pra_alloc *alloc)
{
    pra__free(alloc, p->columns, p->column_room * sizeof(*p->columns));
    p->columns = NULL;
}

/* ---- to an array */

static int bind_list_of_numbers(struct pra__arrow_list *list, struct pra__arrow_numbers *numbers,
                                const struct ArrowArray *array, int64_t need, pra_error *err)
{
    int rc = pra__arrow_bind_list(list, array, need, err);
    return rc ? rc : pra__arrow_bind_numbers(numbers, array->children[0], list->items, err);
}

static int bind_data(struct pra__arrow_plan *p, const struct ArrowArray *table, int64_t need,
                     pra_error *err)
{
    const struct ArrowArray *times = table->children[p->time];
    const struct ArrowArray *values = table->children[p->value];
    if (p->wide) {
        int rc = bind_list_of_numbers(&p->times_list, &p->times, times, need, err);
        return rc ? rc : bind_list_of_numbers(&p->values_list, &p->values, values, need, err);
    }
    int rc = pra__arrow_bind_numbers(&p->times, times, need, err);
    return rc ? rc : pra__arrow_bind_numbers(&p->values, values, need, err);
}

static int bind_pairs(struct pra__arrow_plan *p, const struct ArrowArray *labels, int64_t need,
                      pra_error *err)
{
    int rc = pra__arrow_bind_list(&p->pairs, labels, need, err);
    if (rc)
        return rc;
    const struct ArrowArray *pair = labels->children[0];
    rc = pra__arrow_check(pair, p->pairs.items, 1, 2, p->pairs.column, err);
    if (rc)
        return rc;
    p->pair_bitmap = pra__arrow_bitmap(pair);
    p->pair_offset = pair->offset;
    need = p->pairs.items + pair->offset;
    rc = pra__arrow_bind_text(&p->pair_name, pair->children[0], need, err);
    return rc ? rc : pra__arrow_bind_text(&p->pair_value, pair->children[1], need, err);
}

static int bind_columns(struct pra__arrow_plan *p, const struct ArrowArray *table, int64_t need,
                        pra_error *err)
{
    for (size_t i = 0; i < p->column_count; i++) {
        struct pra__arrow_label_column *column = &p->columns[i];
        const struct ArrowArray *of = column->of_labels ? table->children[p->labels] : table;
        column->offset = p->offset + (column->of_labels ? of->offset : 0);
        column->bitmap = column->of_labels ? pra__arrow_bitmap(of) : NULL;
        const int64_t more = column->of_labels ? of->offset : 0;
        int rc = pra__arrow_check(of, 0, 0, column->child + 1, column->text.column, err);
        if (rc == PRA_OK)
            rc = pra__arrow_bind_text(&column->text, of->children[column->child], need + more, err);
        if (rc)
            return rc;
    }
    return PRA_OK;
}

int pra__arrow_plan_bind(struct pra__arrow_plan *p, const struct ArrowArray *table, pra_error *err)
{
    int64_t most = p->time > p->value ? p->time : p->value;
    if (p->labels > most)
        most = p->labels;
    int rc = pra__arrow_check(table, 0, 0, most + 1, "(the table)", err);
    if (rc)
        return rc;
    p->rows = table->length;
    p->offset = table->offset;
    if (p->rows > INT64_MAX / 2)
        return pra__arrow_broken("(the table)", "no array is that long", err);
    const int64_t need = p->rows + p->offset;
    if (p->rows == 0)
        return PRA_OK;
    for (int64_t i = 0; pra__arrow_bitmap(table) && i < p->rows; i++)
        if (pra__arrow_is_null(pra__arrow_bitmap(table), p->offset + i))
            return pra__arrow_broken("(the table)", "rows must not be null", err);
    rc = bind_data(p, table, need, err);
    if (rc == PRA_OK && p->labels_kind == PRA__LABELS_LIST)
        rc = bind_pairs(p, table->children[p->labels], need, err);
    if (rc == PRA_OK && p->labels_kind == PRA__LABELS_STRUCT)
        rc = pra__arrow_check(table->children[p->labels], need, 1, 0, "labels", err);
    return rc ? rc : bind_columns(p, table, need, err);
}
