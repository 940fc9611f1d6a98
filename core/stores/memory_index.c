/* SPDX-License-Identifier: Apache-2.0 */
/* Tenants, series and the label index of the memory store. */
#include <string.h>

#include "memory_store.h"

/* ---- tenants */

mem_tenant *pra__mem_tenant(mem_store *store, pra_str name)
{
    pra__node *node = pra__table_find(&store->tenants, pra__store_hash(name));
    for (; node; node = pra__table_again(node)) {
        mem_tenant *tenant = (mem_tenant *)node;
        if (pra__str_equal(name, (pra_str){tenant->text, tenant->len}))
            return tenant;
    }
    return NULL;
}

mem_tenant *pra__mem_tenant_add(mem_store *store, pra_str name)
{
    if (pra__table_reserve(&store->tenants, &store->alloc) != 0)
        return NULL;
    mem_tenant *tenant = pra__malloc(&store->alloc, sizeof *tenant + name.len);
    if (!tenant)
        return NULL;
    *tenant = (mem_tenant){.node.hash = pra__store_hash(name), .len = name.len, .next_id = 1};
    if (name.len)
        memcpy(tenant->text, name.ptr, name.len);
    tenant->next = store->first_tenant;
    store->first_tenant = tenant;
    pra__table_link(&store->tenants, &tenant->node);
    return tenant;
}

/* ---- posting lists */

size_t pra__mem_posting_at(const mem_posting *posting, uint64_t id)
{
    size_t low = 0, high = posting->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (posting->series[mid]->id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int posting_reserve(mem_posting *p, const pra_alloc *alloc)
{
    return pra__store_grow(alloc, (void **)&p->series, &p->cap, p->count + 1, sizeof *p->series);
}

static void posting_remove(mem_posting *p, uint64_t id)
{
    size_t at = pra__mem_posting_at(p, id);
    p->count--;
    memmove(p->series + at, p->series + at + 1, (p->count - at) * sizeof *p->series);
}

static void posting_free(mem_posting *p, const pra_alloc *alloc)
{
    pra__free(alloc, p->series, p->cap * sizeof *p->series);
}

/* ---- names and values */

mem_name *pra__mem_name(const mem_tenant *tenant, pra_str name)
{
    pra__node *node = pra__table_find(&tenant->names, pra__store_hash(name));
    for (; node; node = pra__table_again(node)) {
        mem_name *found = (mem_name *)node;
        if (pra__str_equal(name, (pra_str){found->text, found->len}))
            return found;
    }
    return NULL;
}

mem_value *pra__mem_value(const mem_name *name, pra_str value)
{
    pra__node *node = pra__table_find(&name->values, pra__store_hash(value));
    for (; node; node = pra__table_again(node)) {
        mem_value *found = (mem_value *)node;
        if (pra__str_equal(value, (pra_str){found->text, found->len}))
            return found;
    }
    return NULL;
}

static mem_name *name_add(mem_store *store, mem_tenant *tenant, pra_str text)
{
    if (pra__table_reserve(&tenant->names, &store->alloc) != 0)
        return NULL;
    mem_name *name = pra__malloc(&store->alloc, sizeof *name + text.len);
    if (!name)
        return NULL;
    *name = (mem_name){.node.hash = pra__store_hash(text), .len = text.len};
    memcpy(name->text, text.ptr, text.len);
    pra__table_link(&tenant->names, &name->node);
    return name;
}

static mem_value *value_add(mem_store *store, mem_name *name, pra_str text)
{
    if (pra__table_reserve(&name->values, &store->alloc) != 0)
        return NULL;
    mem_value *value = pra__malloc(&store->alloc, sizeof *value + text.len);
    if (!value)
        return NULL;
    *value = (mem_value){.node.hash = pra__store_hash(text), .len = text.len};
    if (text.len)
        memcpy(value->text, text.ptr, text.len);
    pra__table_link(&name->values, &value->node);
    return value;
}

static void value_drop_if_empty(mem_store *store, mem_tenant *tenant, mem_name *name,
                                mem_value *value)
{
    if (value && value->posting.count == 0) {
        posting_free(&value->posting, &store->alloc);
        pra__table_unlink(&name->values, &value->node);
        pra__free(&store->alloc, value, sizeof *value + value->len);
    }
    if (name->values.count == 0) {
        pra__table_free(&name->values, &store->alloc);
        pra__table_unlink(&tenant->names, &name->node);
        pra__free(&store->alloc, name, sizeof *name + name->len);
    }
}

/* ---- series */

bool pra__mem_same_labels(const pra_label *held, size_t held_count, const char *base,
                          const pra_label_span *labels, size_t count)
{
    if (held_count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!pra__str_equal(held[i].name, pra__store_span(base, labels[i].name)) ||
            !pra__str_equal(held[i].value, pra__store_span(base, labels[i].value)))
            return false;
    return true;
}

size_t pra__mem_label_bytes(const pra_label_span *labels, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += (size_t)labels[i].name.len + labels[i].value.len;
    return bytes;
}

pra_str pra__mem_copy_string(char **at, pra_str s)
{
    pra_str copy = {*at, s.len};
    if (s.len)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return copy;
}

void pra__mem_copy_labels(pra_label *out, const char *base, const pra_label_span *labels,
                          size_t count)
{
    char *at = (char *)(out + count);
    for (size_t i = 0; i < count; i++) {
        out[i].name = pra__mem_copy_string(&at, pra__store_span(base, labels[i].name));
        out[i].value = pra__mem_copy_string(&at, pra__store_span(base, labels[i].value));
    }
}

static size_t block_size(const mem_series *series)
{
    return sizeof *series + series->label_count * sizeof *series->labels + series->string_bytes;
}

static void series_free(mem_store *store, mem_series *series)
{
    pra__mem_points_free(store, series);
    pra__free(&store->alloc, series, block_size(series));
}

static mem_series *series_new(mem_store *store, uint64_t hash, const char *base,
                              const pra_label_span *labels, size_t count)
{
    mem_series head = {.node.hash = hash,
                       .label_count = count,
                       .string_bytes = pra__mem_label_bytes(labels, count)};
    mem_series *series = pra__malloc(&store->alloc, block_size(&head));
    if (!series)
        return NULL;
    *series = head;
    pra__mem_copy_labels(series->labels, base, labels, count);
    return series;
}

/* Makes sure that linking one more series into every index cannot fail. What it leaves behind when
 * it fails are empty entries, which drop_empty takes away. */
static int reserve_everywhere(mem_store *store, mem_tenant *tenant, const mem_series *series)
{
    if (pra__table_reserve(&tenant->series, &store->alloc) != 0 ||
        posting_reserve(&tenant->all, &store->alloc) != 0)
        return PRA_ERR_NOMEM;
    for (size_t i = 0; i < series->label_count; i++) {
        const pra_label *label = &series->labels[i];
        mem_name *name = pra__mem_name(tenant, label->name);
        if (!name && !(name = name_add(store, tenant, label->name)))
            return PRA_ERR_NOMEM;
        mem_value *value = pra__mem_value(name, label->value);
        if (!value && !(value = value_add(store, name, label->value)))
            return PRA_ERR_NOMEM;
        if (posting_reserve(&value->posting, &store->alloc) != 0)
            return PRA_ERR_NOMEM;
    }
    return PRA_OK;
}

static void drop_empty(mem_store *store, mem_tenant *tenant, const mem_series *series)
{
    for (size_t i = 0; i < series->label_count; i++) {
        mem_name *name = pra__mem_name(tenant, series->labels[i].name);
        if (name)
            value_drop_if_empty(store, tenant, name, pra__mem_value(name, series->labels[i].value));
    }
}

static void posting_append(mem_posting *p, mem_series *series)
{
    p->series[p->count++] = series;
}

static mem_series *series_add(mem_store *store, mem_tenant *tenant, uint64_t hash, const char *base,
                              const pra_label_span *labels, size_t count)
{
    mem_series *series = series_new(store, hash, base, labels, count);
    if (!series)
        return NULL;
    if (reserve_everywhere(store, tenant, series) != 0) {
        drop_empty(store, tenant, series);
        series_free(store, series);
        return NULL;
    }
    series->id = tenant->next_id++;
    pra__table_link(&tenant->series, &series->node);
    posting_append(&tenant->all, series);
    for (size_t i = 0; i < count; i++) {
        mem_name *name = pra__mem_name(tenant, series->labels[i].name);
        posting_append(&pra__mem_value(name, series->labels[i].value)->posting, series);
    }
    atomic_fetch_add(&store->series_count, 1);
    return series;
}

static bool is_series(const mem_series *series, const char *base, const pra_label_span *labels,
                      size_t count)
{
    return pra__mem_same_labels(series->labels, series->label_count, base, labels, count);
}

mem_series *pra__mem_series(mem_store *store, mem_tenant *tenant, const char *base,
                            const pra_label_span *labels, size_t count)
{
    uint64_t hash = pra_labels_fingerprint(base, labels, count);
    pra__node *node = pra__table_find(&tenant->series, hash);
    for (; node; node = pra__table_again(node))
        if (is_series((mem_series *)node, base, labels, count))
            return (mem_series *)node;
    return series_add(store, tenant, hash, base, labels, count);
}

void pra__mem_series_remove(mem_store *store, mem_tenant *tenant, mem_series *series)
{
    for (size_t i = 0; i < series->label_count; i++) {
        mem_name *name = pra__mem_name(tenant, series->labels[i].name);
        mem_value *value = pra__mem_value(name, series->labels[i].value);
        posting_remove(&value->posting, series->id);
        value_drop_if_empty(store, tenant, name, value);
    }
    posting_remove(&tenant->all, series->id);
    pra__table_unlink(&tenant->series, &series->node);
    atomic_fetch_sub(&store->series_count, 1);
    series_free(store, series);
}

/* ---- the end */

static void tenant_free(mem_store *store, mem_tenant *tenant)
{
    while (tenant->all.count)
        pra__mem_series_remove(store, tenant, tenant->all.series[tenant->all.count - 1]);
    posting_free(&tenant->all, &store->alloc);
    pra__table_free(&tenant->series, &store->alloc);
    pra__table_free(&tenant->names, &store->alloc);
    pra__mem_metadata_free(store, tenant);
    pra__free(&store->alloc, tenant, sizeof *tenant + tenant->len);
}

void pra__mem_free(mem_store *store)
{
    for (mem_tenant *tenant = store->first_tenant, *next; tenant; tenant = next) {
        next = tenant->next;
        tenant_free(store, tenant);
    }
    pra__table_free(&store->tenants, &store->alloc);
    pra_buffer_free(store->scratch);
    pra_alloc parent = store->parent;
    pra__free(&parent, store, sizeof *store);
}
