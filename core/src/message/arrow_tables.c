/* SPDX-License-Identifier: Apache-2.0 */
/* The columns of the tables, and their types. */
#include "message/arrow_hold.h"

#define COUNT(array) ((int64_t)(sizeof(array) / sizeof((array)[0])))
#define STRUCT(fields) .format = "+s", .child_count = COUNT(fields), .children = (fields)
#define LIST_OF(item) .format = "+l", .child_count = 1, .children = &(item)
#define DICTIONARY .format = "i", .dictionary = &strings

static const struct pra__arrow_field strings = {.name = "", .format = "u"};

static const struct pra__arrow_field pair_fields[] = {
    {.name = "key", DICTIONARY},
    {.name = "value", DICTIONARY},
};
static const struct pra__arrow_field pair = {.name = "entries", STRUCT(pair_fields)};

static const struct pra__arrow_field span_fields[] = {
    {.name = "offset", .format = "i"},
    {.name = "length", .format = "I"},
};
static const struct pra__arrow_field span = {.name = "item", STRUCT(span_fields)};
static const struct pra__arrow_field number = {.name = "item", .format = "g"};

#define SERIES                                                                                     \
    {                                                                                              \
        .name = "series", .format = "I"                                                            \
    }
#define TIMESTAMP                                                                                  \
    {                                                                                              \
        .name = "timestamp", .format = "tsm:UTC"                                                   \
    }
#define START_TIMESTAMP                                                                            \
    {                                                                                              \
        .name = "start_timestamp", .format = "tsm:UTC", .flags = ARROW_FLAG_NULLABLE               \
    }
#define LABELS                                                                                     \
    {                                                                                              \
        .name = "labels", .format = "+m", .child_count = 1, .children = &pair                      \
    }

static const struct pra__arrow_field sample_fields[] = {
    SERIES,
    TIMESTAMP,
    {.name = "value", .format = "g"},
    START_TIMESTAMP,
};

static const struct pra__arrow_field series_fields[] = {
    SERIES,
    {.name = "fingerprint", .format = "L"},
    {.name = "name", DICTIONARY},
    LABELS,
};

static const struct pra__arrow_field histogram_fields[] = {
    SERIES,
    TIMESTAMP,
    START_TIMESTAMP,
    {.name = "schema", .format = "i"},
    {.name = "reset_hint", DICTIONARY},
    {.name = "is_float", .format = "b"},
    {.name = "count", .format = "g"},
    {.name = "zero_count", .format = "g"},
    {.name = "zero_threshold", .format = "g"},
    {.name = "sum", .format = "g"},
    {.name = "positive_spans", LIST_OF(span)},
    {.name = "positive_buckets", LIST_OF(number)},
    {.name = "negative_spans", LIST_OF(span)},
    {.name = "negative_buckets", LIST_OF(number)},
    {.name = "custom_values", LIST_OF(number)},
};

static const struct pra__arrow_field exemplar_fields[] = {
    SERIES,
    TIMESTAMP,
    {.name = "value", .format = "g"},
    LABELS,
};

static const struct pra__arrow_field metadata_fields[] = {
    {.name = "series", .format = "I", .flags = ARROW_FLAG_NULLABLE},
    {.name = "family", .format = "u"},
    {.name = "type", DICTIONARY},
    {.name = "help", .format = "u"},
    {.name = "unit", .format = "u"},
};

static const struct pra__arrow_field tables[] = {
    [PRA_ARROW_SAMPLES] = {.name = "", STRUCT(sample_fields)},
    [PRA_ARROW_SERIES] = {.name = "", STRUCT(series_fields)},
    [PRA_ARROW_HISTOGRAMS] = {.name = "", STRUCT(histogram_fields)},
    [PRA_ARROW_EXEMPLARS] = {.name = "", STRUCT(exemplar_fields)},
    [PRA_ARROW_METADATA] = {.name = "", STRUCT(metadata_fields)},
};

const struct pra__arrow_field *pra__arrow_table(int32_t table)
{
    return table < 0 || table >= COUNT(tables) ? NULL : &tables[table];
}

int pra_arrow_schema(int32_t table, const pra_alloc *alloc, struct ArrowSchema *out)
{
    const struct pra__arrow_field *field = pra__arrow_table(table);
    struct pra__arrow_hold *hold;
    struct ArrowSchema schema;
    if (!field || !out)
        return PRA_ERR_INVALID_ARG;
    if (pra__arrow_hold_new(alloc, &hold))
        return PRA_ERR_NOMEM;
    if (pra__arrow_make_schema(hold, field, &schema)) {
        pra__arrow_hold_free(hold);
        return PRA_ERR_NOMEM;
    }
    *out = schema;
    return PRA_OK;
}
