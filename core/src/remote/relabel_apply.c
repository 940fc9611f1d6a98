/* SPDX-License-Identifier: Apache-2.0 */
/* Rules applied to one set of labels after the other. The labels are always in order; what was set
 * keeps the number of its setting, as labelmap takes such labels after the others, in that order.
 */
#include <stdio.h>

#include <md5.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "base/letter_case.h"
#include "base/sort.h"
#include "base/str.h"
#include "remote/relabel.h"

typedef struct pra__relabeller relabeller;
typedef struct pra__relabel_label label;
typedef struct pra__relabel_rule rule;
typedef struct pra__relabel_finding finding;
typedef struct pra__relabel_slot slot;

enum { NAMES = 16 }; /* remembered for each rule */

/* ---- memory */

/* Counts size bytes that rules make. */
static int spend(relabeller *r, size_t size)
{
    if (size > r->left)
        return PRA_ERR_MEMORY_BUDGET;
    r->left -= size;
    return PRA_OK;
}

static int take(relabeller *r, size_t size, size_t align, void *out)
{
    int rc = spend(r, size);
    if (rc)
        return rc;
    void *ptr = pra_arena_alloc(r->arena, size, align);
    memcpy(out, &ptr, sizeof(ptr));
    return ptr ? PRA_OK : PRA_ERR_NOMEM;
}

static int keep_str(relabeller *r, pra_str s, pra_str *out)
{
    char *copy = NULL;
    int rc = s.len ? take(r, s.len, 1, &copy) : PRA_OK;
    if (rc == PRA_OK && s.len)
        memcpy(copy, s.ptr, s.len);
    *out = (pra_str){copy, s.len};
    return rc;
}

/* Doubled each time: what is left behind in the arena is less than what is in use. */
static int room(relabeller *r, size_t count)
{
    label *labels;
    if (count <= r->cap)
        return PRA_OK;
    const size_t cap = count < r->cap * 2 ? r->cap * 2 : count < 16 ? 16 : count;
    if (cap > SIZE_MAX / sizeof(*labels))
        return PRA_ERR_NOMEM;
    int rc = take(r, cap * sizeof(*labels), sizeof(void *), &labels);
    if (rc)
        return rc;
    if (r->count)
        memcpy(labels, r->labels, r->count * sizeof(*labels));
    r->labels = labels;
    r->cap = cap;
    return PRA_OK;
}

/* ---- labels by name */

/* As pra__str_equal; strings here are mostly short. */
static inline int equal(pra_str a, pra_str b)
{
    if (a.len != b.len)
        return 0;
    if (a.len < 8 || a.len > 16)
        return a.ptr == b.ptr || a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0;
    uint64_t x[2], y[2]; /* the first and the last eight bytes */
    memcpy(&x[0], a.ptr, 8);
    memcpy(&y[0], b.ptr, 8);
    memcpy(&x[1], a.ptr + a.len - 8, 8);
    memcpy(&y[1], b.ptr + a.len - 8, 8);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

/* The first label that is not before name. */
static size_t place_of(const relabeller *r, pra_str name)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (pra__str_compare(r->labels[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first label with this name, r->count if there is none. */
static size_t index_of(const relabeller *r, pra_str name)
{
    enum { FEW = 24 };
    size_t i = 0;
    if (r->count > FEW) {
        i = place_of(r, name);
        return i < r->count && equal(r->labels[i].name, name) ? i : r->count;
    }
    while (i < r->count && !equal(r->labels[i].name, name))
        i++;
    return i;
}

/* How many labels from number at on have this name: one at most, unless they came so. */
static size_t same_names(const relabeller *r, size_t at, pra_str name)
{
    size_t n = 0;
    while (at + n < r->count && equal(r->labels[at + n].name, name))
        n++;
    return n;
}

pra_str pra__relabeller_get(const relabeller *r, pra_str name)
{
    const size_t at = index_of(r, name);
    return at < r->count ? r->labels[at].value : (pra_str){NULL, 0};
}

static void take_out(relabeller *r, size_t at, size_t count)
{
    if (count == 0)
        return;
    memmove(r->labels + at, r->labels + at + count, (r->count - at - count) * sizeof(label));
    r->count -= count;
    r->changed = 1;
}

static int insert(relabeller *r, size_t at, pra_str name)
{
    if (r->count >= r->relabel->limits.max_labels_per_series)
        return PRA_ERR_LABEL_COUNT;
    int rc = room(r, r->count + 1);
    if (rc)
        return rc;
    memmove(r->labels + at + 1, r->labels + at, (r->count - at) * sizeof(label));
    r->labels[at] = (label){.name = name};
    r->count++;
    return PRA_OK;
}

static int set(relabeller *r, pra_str name, pra_str value)
{
    size_t at = index_of(r, name);
    const size_t same = same_names(r, at, name);
    if (name.len > r->relabel->limits.max_label_name_bytes)
        return PRA_ERR_LABEL_NAME_LENGTH;
    if (value.len > r->relabel->limits.max_label_value_bytes)
        return PRA_ERR_LABEL_VALUE_LENGTH;
    if (value.len == 0) {
        take_out(r, at, same);
        return PRA_OK;
    }
    if (!same) {
        at = place_of(r, name);
        int rc = insert(r, at, name);
        if (rc)
            return rc;
    }
    if (same > 1)
        take_out(r, at + 1, same - 1);
    if (r->labels[at].order == 0)
        r->labels[at].order = ++r->orders;
    r->labels[at].value = value;
    r->changed = 1;
    return PRA_OK;
}

/* ---- what a rule finds out */

static int expand(relabeller *r, const struct pra__template *t, uint64_t most, int too_long,
                  pra_str *out)
{
    if (t->count <= 1) { /* no copy */
        const struct pra__template_part *part = t->parts;
        *out = t->count == 0    ? (pra_str){NULL, 0}
               : part->is_group ? r->groups[part->group]
                                : part->text;
        return PRA_OK;
    }
    const size_t size = pra__template_size(t, r->groups);
    char *text;
    if (size > most)
        return too_long;
    int rc = take(r, size, 1, &text);
    if (rc)
        return rc;
    pra__template_expand(t, r->groups, text);
    *out = (pra_str){text, size};
    return PRA_OK;
}

static int expand_name(relabeller *r, const struct pra__template *t, pra_str *out)
{
    return expand(r, t, r->relabel->limits.max_label_name_bytes, PRA_ERR_LABEL_NAME_LENGTH, out);
}

static int expand_value(relabeller *r, const struct pra__template *t, pra_str *out)
{
    return expand(r, t, r->relabel->limits.max_label_value_bytes, PRA_ERR_LABEL_VALUE_LENGTH, out);
}

/* Fills r->groups if it matches. Returns 1, 0 or PRA_ERR_NOMEM. */
static int match(relabeller *r, const rule *u, pra_str text)
{
    if (u->groups > 1 && !u->whole)
        return pra__regex_capture(u->program->regex, text, r->groups, u->groups);
    int rc = pra__program_matches(u->program, text);
    for (size_t i = 0; rc > 0 && i < u->groups; i++)
        r->groups[i] = text;
    return rc;
}

static int hash(relabeller *r, const rule *u, pra_str text, pra_str *out)
{
    MD5_CTX md5;
    uint8_t digest[MD5_DIGEST_LENGTH];
    char number[24];
    uint64_t low = 0;
    MD5Init(&md5);
    if (text.len)
        MD5Update(&md5, (const uint8_t *)text.ptr, text.len);
    MD5Final(digest, &md5);
    for (int i = 8; i < 16; i++)
        low = low << 8 | digest[i];
    const int len =
        snprintf(number, sizeof(number), "%llu", (unsigned long long)(low % u->modulus));
    return keep_str(r, (pra_str){number, (size_t)len}, out);
}

/* A byte that is not UTF-8 becomes U+FFFD, as in Go: three bytes of one. Nothing else grows by
 * more than a half. */
static int change_case(relabeller *r, uint32_t (*map)(uint32_t), pra_str text, pra_str *out)
{
    char *to = NULL;
    size_t len = 0, size;
    if (text.len > r->relabel->limits.max_label_value_bytes)
        return PRA_ERR_LABEL_VALUE_LENGTH;
    int rc = text.len ? take(r, 3 * text.len, 1, &to) : PRA_OK;
    if (rc)
        return rc;
    for (; text.len; text.ptr += size, text.len -= size)
        len += pra__utf8_encode(to + len, map(pra__utf8_decode(text, &size)));
    *out = (pra_str){to, len};
    return PRA_OK;
}

static int find_replacement(relabeller *r, const rule *u, pra_str text, finding *out)
{
    const struct pra__template *target = &u->target;
    out->matched = match(r, u, text);
    if (out->matched <= 0)
        return out->matched;
    int rc = expand_name(r, target, &out->target);
    if (rc)
        return rc;
    if (out->target.len == 0 || (target->groups && !pra__utf8_valid(out->target))) {
        out->matched = 0; /* no label can have this name */
        return PRA_OK;
    }
    return expand_value(r, &u->replacement, &out->value);
}

static int find(relabeller *r, const rule *u, pra_str text, finding *out)
{
    *out = (finding){.matched = 1};
    switch (u->action) {
    case PRA_RELABEL_REPLACE:
        return find_replacement(r, u, text, out);
    case PRA_RELABEL_HASHMOD:
        out->target = u->target.parts[0].text;
        return hash(r, u, text, &out->value);
    case PRA_RELABEL_LOWERCASE:
        out->target = u->target.parts[0].text;
        return change_case(r, pra__to_lower, text, &out->value);
    case PRA_RELABEL_UPPERCASE:
        out->target = u->target.parts[0].text;
        return change_case(r, pra__to_upper, text, &out->value);
    case PRA_RELABEL_KEEPEQUAL:
    case PRA_RELABEL_DROPEQUAL:
        out->matched = pra__str_equal(pra__relabeller_get(r, u->target.parts[0].text), text);
        return PRA_OK;
    default: /* those that only match, and labelmap */
        out->matched = match(r, u, text);
        if (out->matched > 0 && u->action == PRA_RELABEL_LABELMAP)
            return expand_name(r, &u->replacement, &out->target);
        return out->matched < 0 ? out->matched : PRA_OK;
    }
}

static slot *slot_of(relabeller *r, pra_str text)
{
    const uint64_t hash = XXH3_64bits(text.len ? text.ptr : "", text.len);
    return &r->slots[(hash + r->rule * UINT64_C(0x9E3779B97F4A7C15)) & r->slot_mask];
}

/* As find, or from memory: of texts that meet in one slot the last is remembered. stable: text
 * stays where it is. */
static int recall(relabeller *r, const rule *u, pra_str text, int stable, finding *out)
{
    slot *s = u->remembered && r->slots ? slot_of(r, text) : NULL;
    if (s && s->rule == r->rule + 1 && equal(s->input, text)) {
        *out = s->found;
        return PRA_OK;
    }
    if (!stable && (s || u->action == PRA_RELABEL_REPLACE)) {
        int rc = keep_str(r, text, &text);
        if (rc)
            return rc;
    }
    int rc = find(r, u, text, out);
    if (rc == PRA_OK && s)
        *s = (slot){(uint32_t)r->rule + 1, text, *out};
    return rc;
}

/* The same for the name of label number i. Series that follow one another mostly have the same
 * names. */
static int recall_name(relabeller *r, const rule *u, size_t i, finding *out)
{
    const pra_str name = r->labels[i].name;
    slot *s = r->names && i < NAMES ? &r->names[r->rule * NAMES + i] : NULL;
    if (s && s->rule && equal(s->input, name)) {
        *out = s->found;
        return PRA_OK;
    }
    int rc = recall(r, u, name, 1, out);
    if (rc == PRA_OK && s)
        *s = (slot){1, name, *out};
    return rc;
}

/* ---- rules */

/* The values of the source labels, joined in memory that the next call uses again. */
static int join(relabeller *r, const rule *u, pra_str *out)
{
    size_t len = 0;
    for (size_t i = 0; i < u->source_count; i++) {
        const pra_str part = pra__relabeller_get(r, u->sources[i]);
        const pra_str between = i ? u->separator : (pra_str){NULL, 0};
        const size_t need = len + between.len + part.len;
        if (need > r->joined_cap) {
            char *joined;
            int rc = take(r, need * 2, 1, &joined);
            if (rc)
                return rc;
            if (len)
                memcpy(joined, r->joined, len);
            r->joined = joined;
            r->joined_cap = need * 2;
        }
        if (between.len)
            memcpy(r->joined + len, between.ptr, between.len);
        if (part.len)
            memcpy(r->joined + len + between.len, part.ptr, part.len);
        len = need;
    }
    *out = (pra_str){r->joined, len};
    return PRA_OK;
}

static int apply_to_value(relabeller *r, const rule *u)
{
    pra_str text = {NULL, 0};
    finding found;
    int rc = PRA_OK;
    if (u->source_count == 1)
        text = pra__relabeller_get(r, u->sources[0]);
    else if (u->source_count > 1)
        rc = join(r, u, &text);
    if (rc == PRA_OK)
        rc = recall(r, u, text, u->source_count <= 1, &found);
    if (rc)
        return rc;
    switch (u->action) {
    case PRA_RELABEL_KEEP:
    case PRA_RELABEL_KEEPEQUAL:
        return found.matched ? PRA_OK : PRA_DONE;
    case PRA_RELABEL_DROP:
    case PRA_RELABEL_DROPEQUAL:
        return found.matched ? PRA_DONE : PRA_OK;
    default:
        return found.matched ? set(r, found.target, found.value) : PRA_OK;
    }
}

/* labeldrop and labelkeep. */
static int apply_to_names(relabeller *r, const rule *u)
{
    const int wanted = u->action == PRA_RELABEL_LABELKEEP;
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        finding found;
        int rc = recall_name(r, u, i, &found);
        if (rc)
            return rc;
        if (found.matched != wanted)
            continue;
        if (kept != i)
            r->labels[kept] = r->labels[i];
        kept++;
    }
    r->changed |= kept != r->count;
    r->count = kept;
    return PRA_OK;
}

static int by_order(const void *a, const void *b, const void *arg)
{
    const label *x = a, *y = b;
    (void)arg;
    return (x->order > y->order) - (x->order < y->order);
}

/* The labels to be set, under their new names. It is found out for all of them before any is set,
 * so that those that are set are not seen. */
static int map_names(relabeller *r, const rule *u, label *mapped, size_t *count)
{
    int any_order = 0;
    *count = 0;
    for (size_t i = 0; i < r->count; i++) {
        finding found;
        int rc = recall_name(r, u, i, &found);
        if (rc)
            return rc;
        if (!found.matched || found.target.len == 0)
            continue;
        any_order |= r->labels[i].order != 0;
        mapped[(*count)++] = (label){found.target, r->labels[i].value, r->labels[i].order};
    }
    if (any_order) { /* those that came as they came: heapsort would mix equal ones */
        uint32_t came = 0;
        for (size_t i = 0; i < *count; i++)
            mapped[i].order = mapped[i].order ? mapped[i].order + (uint32_t)r->count : ++came;
        pra__sort(mapped, *count, sizeof(*mapped), by_order, NULL);
    }
    return PRA_OK;
}

static int apply_labelmap(relabeller *r, const rule *u)
{
    enum { FEW = 64 };
    label few[FEW], *mapped = few;
    size_t count;
    int rc = r->count > FEW ? take(r, r->count * sizeof(label), sizeof(void *), &mapped) : PRA_OK;
    if (rc == PRA_OK)
        rc = map_names(r, u, mapped, &count);
    for (size_t i = 0; rc == PRA_OK && i < count; i++)
        rc = set(r, mapped[i].name, mapped[i].value);
    return rc;
}

static int apply(relabeller *r, const rule *u)
{
    switch (u->action) {
    case PRA_RELABEL_LABELMAP:
        return apply_labelmap(r, u);
    case PRA_RELABEL_LABELDROP:
    case PRA_RELABEL_LABELKEEP:
        return apply_to_names(r, u);
    default:
        return apply_to_value(r, u);
    }
}

/* ---- the label set */

/* Elements of an arena, zeroed; none are NULL. */
static int zeroed(pra_arena *arena, size_t count, size_t size, void *out)
{
    void *ptr = NULL;
    if (count > SIZE_MAX / size)
        return PRA_ERR_NOMEM;
    if (count) {
        ptr = pra_arena_alloc(arena, count * size, sizeof(void *));
        if (!ptr)
            return PRA_ERR_NOMEM;
        memset(ptr, 0, count * size);
    }
    memcpy(out, &ptr, sizeof(ptr));
    return PRA_OK;
}

int pra__relabeller_init(relabeller *r, const pra_relabel *relabel, pra_arena *arena, size_t slots)
{
    *r = (relabeller){.relabel = relabel,
                      .arena = arena,
                      .left = relabel->limits.max_memory_bytes,
                      .rule = relabel->count,
                      .slot_mask = slots - 1};
    int rc = zeroed(arena, relabel->most_groups, sizeof(*r->groups), &r->groups);
    if (rc == PRA_OK)
        rc = zeroed(arena, slots, sizeof(*r->slots), &r->slots);
    if (rc == PRA_OK && slots)
        rc = zeroed(arena, relabel->count, NAMES * sizeof(*r->names), &r->names);
    return rc;
}

static int by_name(const void *a, const void *b, const void *arg)
{
    (void)arg;
    return pra__str_compare(((const label *)a)->name, ((const label *)b)->name);
}

static int begin(relabeller *r, size_t count)
{
    r->count = 0;
    r->changed = 0;
    r->orders = 0;
    r->rule = r->relabel->count; /* none */
    return room(r, count);
}

static inline void add(relabeller *r, pra_str name, pra_str value)
{
    if (value.len)
        r->labels[r->count++] = (label){name, value, 0};
    else
        r->changed = 1;
}

static void put_in_order(relabeller *r)
{
    for (size_t i = 1; i < r->count; i++) {
        const pra_str a = r->labels[i - 1].name, b = r->labels[i].name;
        if (a.len && b.len && (unsigned char)*a.ptr < (unsigned char)*b.ptr)
            continue;
        if (pra__str_compare(a, b) > 0) {
            pra__sort(r->labels, r->count, sizeof(label), by_name, NULL);
            r->changed = 1;
            return;
        }
    }
}

int pra__relabeller_load(relabeller *r, const char *base, const pra_label_span *labels,
                         size_t count)
{
    int rc = begin(r, count);
    for (size_t i = 0; rc == PRA_OK && i < count; i++)
        add(r, (pra_str){base + labels[i].name.off, labels[i].name.len},
            (pra_str){base + labels[i].value.off, labels[i].value.len});
    put_in_order(r);
    return rc;
}

int pra__relabeller_apply(relabeller *r)
{
    int rc = PRA_OK;
    for (r->rule = 0; r->rule < r->relabel->count; r->rule++) {
        rc = apply(r, &r->relabel->rules[r->rule]);
        if (rc)
            return rc;
    }
    return rc;
}

int pra__relabeller_explain(const relabeller *r, int rc, const char *where, pra_error *err)
{
    const pra_limits *l = &r->relabel->limits;
    const char *what = "max_memory_bytes", *things = "bytes for all series";
    uint64_t limit = l->max_memory_bytes;
    if (rc == PRA_ERR_NOMEM || r->rule >= r->relabel->count)
        return rc == PRA_ERR_NOMEM ? pra__nomem(err)
                                   : pra_error_set_cstr(err, rc,
                                                        "labels take more than "
                                                        "max_memory_bytes");
    if (rc == PRA_ERR_LABEL_COUNT)
        what = "max_labels_per_series", things = "labels", limit = l->max_labels_per_series;
    if (rc == PRA_ERR_LABEL_NAME_LENGTH)
        what = "max_label_name_bytes", things = "bytes of a name", limit = l->max_label_name_bytes;
    if (rc == PRA_ERR_LABEL_VALUE_LENGTH)
        what = "max_label_value_bytes", things = "bytes of a value",
        limit = l->max_label_value_bytes;
    return pra__error(err, rc, 0,
                      "%srelabel rule %zu (%s) makes more than %llu %s (%s): change the rule or "
                      "raise the limit",
                      where, r->rule + 1,
                      pra__relabel_action_cstr(r->relabel->rules[r->rule].action),
                      (unsigned long long)limit, things, what);
}

/* ---- labels of a caller */

int pra_relabel_labels(const pra_relabel *relabel, const pra_label *labels, size_t count,
                       pra_arena *arena, const pra_label **out, size_t *out_count, pra_error *err)
{
    relabeller r;
    pra_label *left;
    if (!relabel || !arena || !out || !out_count || (!labels && count))
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "an argument is missing");
    int rc = pra__relabeller_init(&r, relabel, arena, 0);
    if (rc)
        return pra__nomem(err);
    rc = begin(&r, count);
    for (size_t i = 0; rc == PRA_OK && i < count; i++)
        add(&r, labels[i].name, labels[i].value);
    put_in_order(&r);
    if (rc == PRA_OK)
        rc = pra__relabeller_apply(&r);
    if (rc == PRA_OK)
        rc = take(&r, r.count * sizeof(*left), sizeof(void *), &left);
    if (rc)
        return rc == PRA_DONE ? rc : pra__relabeller_explain(&r, rc, "", err);
    for (size_t i = 0; i < r.count; i++)
        left[i] = (pra_label){r.labels[i].name, r.labels[i].value};
    *out = left;
    *out_count = r.count;
    return PRA_OK;
}
