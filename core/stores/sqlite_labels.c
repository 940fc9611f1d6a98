/* SPDX-License-Identifier: Apache-2.0 */
/* Labels of a series as text, and the cache from that text to series. */
#include <string.h>

#include "sqlite_store.h"

/* ---- labels -> text */

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c != '"' && c != '\\';
}

static int format_string(pra_str s, pra_buffer *out)
{
    int code = pra_buffer_append(out, "\"", 1);
    for (size_t i = 0; code == PRA_OK && i < s.len;) {
        size_t run = i;
        while (run < s.len && is_plain((unsigned char)s.ptr[run]))
            run++;
        if (run > i) {
            code = pra_buffer_append(out, s.ptr + i, run - i);
            i = run;
            continue;
        }
        unsigned char c = (unsigned char)s.ptr[i++];
        const char hex[] = "0123456789abcdef";
        const char control[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        const char escaped[2] = {'\\', (char)c};
        code = c < 0x20 ? pra_buffer_append(out, control, 6) : pra_buffer_append(out, escaped, 2);
    }
    return code == PRA_OK ? pra_buffer_append(out, "\"", 1) : code;
}

int pra__sql_labels_format(const char *base, const pra_label_span *labels, size_t count,
                           pra_buffer *out)
{
    int code = pra_buffer_append(out, "{", 1);
    for (size_t i = 0; code == PRA_OK && i < count; i++) {
        if (i)
            code = pra_buffer_append(out, ",", 1);
        if (code == PRA_OK)
            code = format_string(pra__store_span(base, labels[i].name), out);
        if (code == PRA_OK)
            code = pra_buffer_append(out, ":", 1);
        if (code == PRA_OK)
            code = format_string(pra__store_span(base, labels[i].value), out);
    }
    return code == PRA_OK ? pra_buffer_append(out, "}", 1) : code;
}

/* ---- text -> labels: exactly what format writes */

typedef struct parser {
    const char *at;
    const char *end;
    char *out;
} parser;

static bool skip(parser *p, char c)
{
    if (p->at == p->end || *p->at != c)
        return false;
    p->at++;
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_escape(parser *p)
{
    if (p->at == p->end)
        return false;
    char c = *p->at++;
    if (c == '"' || c == '\\') {
        *p->out++ = c;
        return true;
    }
    if (c != 'u' || p->end - p->at < 4 || p->at[0] != '0' || p->at[1] != '0')
        return false;
    int high = hex_digit(p->at[2]), low = hex_digit(p->at[3]);
    if (high < 0 || low < 0)
        return false;
    *p->out++ = (char)(high * 16 + low);
    p->at += 4;
    return true;
}

static bool parse_string(parser *p, pra_str *s)
{
    char *start = p->out;
    if (!skip(p, '"'))
        return false;
    while (p->at < p->end && *p->at != '"') {
        if (*p->at != '\\')
            *p->out++ = *p->at++;
        else if (p->at++, !parse_escape(p))
            return false;
    }
    *s = (pra_str){start, (size_t)(p->out - start)};
    return skip(p, '"');
}

int pra__sql_labels_parse(const pra_alloc *alloc, pra_str text, sql_labels *out)
{
    if (pra__store_grow(alloc, (void **)&out->bytes, &out->bytes_cap, text.len + 1, 1) != 0)
        return PRA_ERR_NOMEM;
    parser p = {text.ptr, text.ptr + text.len, out->bytes};
    out->count = 0;
    if (!text.len || !skip(&p, '{'))
        return PRA_ERR_CORRUPT;
    while (!skip(&p, '}')) {
        if (out->count && !skip(&p, ','))
            return PRA_ERR_CORRUPT;
        if (pra__store_grow(alloc, (void **)&out->labels, &out->cap, out->count + 1,
                            sizeof *out->labels) != 0)
            return PRA_ERR_NOMEM;
        pra_label *label = &out->labels[out->count++];
        if (!parse_string(&p, &label->name) || !skip(&p, ':') || !parse_string(&p, &label->value))
            return PRA_ERR_CORRUPT;
    }
    return p.at == p.end ? PRA_OK : PRA_ERR_CORRUPT;
}

void pra__sql_labels_fini(const pra_alloc *alloc, sql_labels *labels)
{
    pra__free(alloc, labels->labels, labels->cap * sizeof *labels->labels);
    pra__free(alloc, labels->bytes, labels->bytes_cap);
    *labels = (sql_labels){0};
}

/* ---- cache: the text is compared, so that equal hashes cannot lead to another's series */

typedef struct cache_entry {
    pra__node node; /* first member */
    int64_t tenant;
    sql_series series;
    size_t len;
    char text[];
} cache_entry;

int pra__sql_cache_init(sql_cache *cache, const pra_alloc *alloc, size_t max_bytes)
{
    *cache = (sql_cache){.alloc = alloc};
    int code = pra_arena_new(alloc, max_bytes / 2, &cache->generation[0].arena);
    if (code == PRA_OK)
        code = pra_arena_new(alloc, max_bytes / 2, &cache->generation[1].arena);
    return code;
}

void pra__sql_cache_fini(sql_cache *cache)
{
    for (int i = 0; i < 2; i++) {
        pra__table_free(&cache->generation[i].table, cache->alloc);
        pra_arena_free(cache->generation[i].arena);
    }
}

static void clear_generation(sql_cache *cache, int which)
{
    pra__table_clear(&cache->generation[which].table);
    pra_arena_reset(cache->generation[which].arena);
}

void pra__sql_cache_clear(sql_cache *cache)
{
    clear_generation(cache, 0);
    clear_generation(cache, 1);
}

static cache_entry *find_in(const pra__table *table, int64_t tenant, uint64_t fingerprint,
                            pra_str labels)
{
    pra__node *node = pra__table_find(table, fingerprint);
    for (; node; node = pra__table_again(node)) {
        cache_entry *entry = (cache_entry *)node;
        if (entry->tenant == tenant && pra__str_equal(labels, (pra_str){entry->text, entry->len}))
            return entry;
    }
    return NULL;
}

bool pra__sql_cache_find(sql_cache *cache, int64_t tenant, uint64_t fingerprint, pra_str labels,
                         sql_series *out)
{
    int current = cache->current;
    cache_entry *entry = find_in(&cache->generation[current].table, tenant, fingerprint, labels);
    if (entry) {
        *out = entry->series;
        return true;
    }
    entry = find_in(&cache->generation[!current].table, tenant, fingerprint, labels);
    if (!entry)
        return false;
    *out = entry->series;
    pra__sql_cache_put(cache, tenant, fingerprint, labels, *out);
    return true;
}

void pra__sql_cache_mark(sql_cache *cache, int64_t tenant, uint64_t fingerprint, pra_str labels)
{
    for (int i = 0; i < 2; i++) {
        cache_entry *entry = find_in(&cache->generation[i].table, tenant, fingerprint, labels);
        if (entry)
            entry->series.histograms = true;
    }
}

/* Without memory nothing is cached, which costs time only. */
void pra__sql_cache_put(sql_cache *cache, int64_t tenant, uint64_t fingerprint, pra_str labels,
                        sql_series series)
{
    size_t size = sizeof(cache_entry) + labels.len;
    cache_entry *entry =
        pra_arena_alloc(cache->generation[cache->current].arena, size, _Alignof(cache_entry));
    if (!entry) {
        cache->current = !cache->current;
        clear_generation(cache, cache->current);
        entry =
            pra_arena_alloc(cache->generation[cache->current].arena, size, _Alignof(cache_entry));
    }
    pra__table *table = &cache->generation[cache->current].table;
    if (!entry || pra__table_reserve(table, cache->alloc) != 0)
        return;
    *entry = (cache_entry){
        .node.hash = fingerprint, .tenant = tenant, .series = series, .len = labels.len};
    memcpy(entry->text, labels.ptr, labels.len);
    pra__table_link(table, &entry->node);
}

void pra__sql_cache_remove(sql_cache *cache, int64_t tenant, uint64_t fingerprint, pra_str labels)
{
    for (int i = 0; i < 2; i++) {
        pra__table *table = &cache->generation[i].table;
        cache_entry *entry = find_in(table, tenant, fingerprint, labels);
        if (entry)
            pra__table_unlink(table, &entry->node);
    }
}
