/* SPDX-License-Identifier: Apache-2.0 */
/* Reading rules: checks, copies, programs. */
#include "remote/relabel.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/str.h"

/* What the regular expressions of one list of rules may cost together; see pra__regex_new. */
#define RULES_EFFORT (UINT64_C(256) << 20)

static const pra_str default_separator = {";", 1};
static const pra_str default_regex = {"(.*)", 4};
static const pra_str default_replacement = {"$1", 2};

static const char *const action_names[] = {
    "replace",  "keep",      "drop",      "keepequal", "dropequal", "hashmod",
    "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase",
};

enum { ACTION_COUNT = sizeof(action_names) / sizeof(action_names[0]) };

const char *pra__relabel_action_cstr(int32_t action)
{
    return action_names[action];
}

int32_t pra_relabel_action(pra_str name)
{
    for (int32_t i = 0; i < ACTION_COUNT; i++) {
        const char *known = action_names[i];
        size_t at = 0;
        while (at < name.len && known[at] &&
               (name.ptr[at] >= 'A' && name.ptr[at] <= 'Z' ? name.ptr[at] + 32 : name.ptr[at]) ==
                   known[at])
            at++;
        if (at == name.len && !known[at])
            return i;
    }
    return PRA_ERR_INVALID_ARG;
}

int pra_relabel_rule_init(pra_relabel_rule *rule, size_t size)
{
    const pra_relabel_rule defaults = {.size = sizeof(defaults),
                                       .separator = default_separator,
                                       .regex = default_regex,
                                       .replacement = default_replacement};
    if (!rule || size < sizeof(size_t))
        return PRA_ERR_INVALID_ARG;
    memcpy(rule, &size, sizeof(size));
    return pra__struct_out(rule, &defaults, sizeof(defaults));
}

/* ---- checks, as Prometheus makes them when it loads its configuration */

static int is_one_of(int32_t action, uint32_t actions)
{
    return (int)(actions >> action & 1);
}

#define BIT(action) (UINT32_C(1) << PRA_RELABEL_##action)

enum {
    EQUALS = BIT(KEEPEQUAL) | BIT(DROPEQUAL),
    CASES = BIT(LOWERCASE) | BIT(UPPERCASE),
    NAMES = BIT(LABELDROP) | BIT(LABELKEEP),
    WITH_TARGET = BIT(REPLACE) | BIT(HASHMOD) | EQUALS | CASES,
    WITH_REGEX = BIT(REPLACE) | BIT(KEEP) | BIT(DROP) | BIT(LABELMAP) | NAMES
};

static int is_text(pra_str s)
{
    return (s.ptr || !s.len) && pra__utf8_valid(s);
}

static int is_name(pra_str s)
{
    return s.len > 0 && is_text(s);
}

/* What is wrong with strings and how they are to be, or NULL. */
static const char *strings_fault(const pra_relabel_rule *rule)
{
    if (!rule->source_labels && rule->source_label_count)
        return "source_labels are missing";
    for (size_t i = 0; i < rule->source_label_count; i++)
        if (!is_name(rule->source_labels[i]))
            return "source_labels has a name that is empty or not UTF-8";
    if (!is_text(rule->target_label))
        return "target_label is not UTF-8";
    if (!is_text(rule->separator) || !is_text(rule->replacement))
        return "separator or replacement is not UTF-8";
    return !rule->regex.ptr && rule->regex.len ? "regex is missing" : NULL;
}

/* The same for what belongs together. */
static const char *rule_fault(const pra_relabel_rule *rule)
{
    const int32_t action = rule->action;
    const int own_separator = !pra__str_equal(rule->separator, default_separator);
    const int own_replacement = !pra__str_equal(rule->replacement, default_replacement);
    const int own_regex = !pra__str_equal(rule->regex, default_regex);
    if (action == PRA_RELABEL_HASHMOD && rule->modulus == 0)
        return "modulus is missing: give a number above 0";
    if (is_one_of(action, WITH_TARGET) && !rule->target_label.len)
        return "target_label is missing: name the label that it is about";
    if (is_one_of(action, EQUALS | CASES) && own_replacement)
        return "replacement has no meaning here: leave it out";
    if (action == PRA_RELABEL_LABELMAP && !rule->replacement.len)
        return "replacement is empty: give the new name, as $1";
    if (is_one_of(action, EQUALS) && (own_regex || rule->modulus || own_separator))
        return "takes source_labels and target_label only: leave out the rest";
    if (is_one_of(action, NAMES) && (rule->source_label_count || rule->target_label.len ||
                                     rule->modulus || own_separator || own_replacement))
        return "takes regex only: leave out the rest";
    return NULL;
}

/* ---- copies and programs */

static int copy_strings(pra_arena *arena, const pra_relabel_rule *from,
                        struct pra__relabel_rule *to)
{
    const size_t count = from->source_label_count;
    if (count > SIZE_MAX / sizeof(*to->sources))
        return PRA_ERR_NOMEM;
    to->sources = pra_arena_alloc(arena, count * sizeof(*to->sources), sizeof(void *));
    int rc = to->sources ? pra__arena_str(arena, from->separator, &to->separator) : PRA_ERR_NOMEM;
    for (; rc == PRA_OK && to->source_count < count; to->source_count++)
        rc = pra__arena_str(arena, from->source_labels[to->source_count],
                            &to->sources[to->source_count]);
    return rc;
}

static int copy_template(pra_arena *arena, pra_str text, struct pra__template *out)
{
    pra_str own;
    int rc = pra__arena_str(arena, text, &own);
    return rc ? rc : pra__template_parse(own, arena, out);
}

/* Only these expand what they are given. */
static int copy_templates(pra_arena *arena, const pra_relabel_rule *from,
                          struct pra__relabel_rule *to)
{
    int rc = PRA_OK;
    if (from->action == PRA_RELABEL_REPLACE || from->action == PRA_RELABEL_LABELMAP)
        rc = copy_template(arena, from->replacement, &to->replacement);
    if (rc == PRA_OK && from->action == PRA_RELABEL_REPLACE)
        return copy_template(arena, from->target_label, &to->target);
    if (rc || !from->target_label.len)
        return rc;
    to->target.parts = pra_arena_alloc(arena, sizeof(*to->target.parts), sizeof(void *));
    if (!to->target.parts)
        return PRA_ERR_NOMEM;
    to->target.count = 1;
    to->target.parts[0] = (struct pra__template_part){0};
    return pra__arena_str(arena, from->target_label, &to->target.parts[0].text);
}

static int resolve(struct pra__relabel_rule *rule, const struct pra__regex *regex, size_t groups)
{
    int rc = pra__template_resolve(&rule->target, regex, groups);
    if (rc == PRA_OK)
        rc = pra__template_resolve(&rule->replacement, regex, groups);
    rule->groups = rule->target.groups;
    if (rule->groups < rule->replacement.groups)
        rule->groups = rule->replacement.groups;
    return rc;
}

/* Most patterns are simple, have no groups that matter, or one around all of them. */
static int compile(struct pra__relabel_rule *rule, pra_str regex, const pra_alloc *alloc,
                   struct pra__compile_opts *opts, pra_error *err)
{
    const struct pra__template *a = &rule->target, *b = &rule->replacement;
    const int has_groups = regex.len && memchr(regex.ptr, '(', regex.len) != NULL;
    const int names = has_groups && (a->has_names || b->has_names);
    const size_t groups = a->groups > b->groups ? a->groups : b->groups;
    const int wrapped = regex.len > 1 && regex.ptr[0] == '(' && regex.ptr[regex.len - 1] == ')';
    int rc = PRA_DONE;
    if (wrapped && !names && groups <= 2)
        rc = pra__program_new((pra_str){regex.ptr + 1, regex.len - 2}, PRA__PROGRAM_NO_REGEX, alloc,
                              opts, &rule->program, err);
    if (rc == PRA_OK)
        rule->whole = 1;
    if (rc != PRA_DONE)
        return rc ? rc : resolve(rule, NULL, 2);
    if (!has_groups || (!names && groups <= 1)) {
        rc = pra__program_new(regex, PRA__PROGRAM_ANY, alloc, opts, &rule->program, err);
        return rc ? rc : resolve(rule, NULL, 1);
    }
    rc = pra__program_new(regex, PRA__PROGRAM_GROUPS, alloc, opts, &rule->program, err);
    return rc ? rc
              : resolve(rule, rule->program->regex, pra__regex_groups(rule->program->regex) + 1);
}

/* Whether a finding costs more than to look it up. */
static int is_costly(const struct pra__relabel_rule *rule)
{
    if (is_one_of(rule->action, BIT(HASHMOD) | BIT(LABELMAP) | CASES | NAMES))
        return 1;
    if (!rule->program)
        return 0;
    return rule->program->kind == PRA__PROGRAM_REGEX || rule->target.count > 1 ||
           rule->replacement.count > 1;
}

static int read_rule(pra_relabel *relabel, const pra_relabel_rule *from,
                     struct pra__relabel_rule *to, struct pra__compile_opts *opts, pra_error *err)
{
    if (from->action < 0 || from->action >= ACTION_COUNT)
        return pra__error(err, PRA_ERR_INVALID_ARG, 0, "unknown action %d: take a PRA_RELABEL_…",
                          (int)from->action);
    const char *fault = strings_fault(from);
    if (!fault)
        fault = rule_fault(from);
    if (fault)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, fault);
    to->action = from->action;
    to->modulus = from->modulus;
    int rc = copy_strings(&relabel->arena, from, to);
    if (rc == PRA_OK)
        rc = copy_templates(&relabel->arena, from, to);
    if (rc)
        return pra_error_set_cstr(err, rc, pra_strerror(rc));
    /* it is to be one everywhere, as for Prometheus */
    if (is_one_of(from->action, WITH_REGEX) || !pra__str_equal(from->regex, default_regex))
        rc = compile(to, from->regex, &relabel->alloc, opts, err);
    to->remembered = is_costly(to);
    if (relabel->most_groups < to->groups)
        relabel->most_groups = to->groups;
    return rc;
}

static int read_rules(pra_relabel *relabel, const pra_relabel_rule *rules, size_t count,
                      pra_error *err)
{
    const pra_limits *l = &relabel->limits;
    struct pra__compile_opts opts = {l->max_pattern_bytes, l->max_pattern_memory, RULES_EFFORT};
    if (count && opts.max_memory > l->max_memory_bytes / count)
        opts.max_memory = l->max_memory_bytes / count;
    const char *at = (const char *)rules;
    for (size_t i = 0; i < count; i++, at += rules->size) {
        pra_relabel_rule rule;
        pra_error why = {0};
        size_t size;
        memcpy(&size, at, sizeof(size));
        int rc = size == rules->size ? pra__opts_copy(&rule, sizeof(rule), at, size)
                                     : PRA_ERR_INVALID_ARG;
        if (rc)
            return pra__error(err, rc, 0,
                              "relabel rule %zu: size is wrong or unknown: call "
                              "pra_relabel_rule_init first",
                              i + 1);
        relabel->count = i + 1; /* what there is to be freed */
        rc = read_rule(relabel, &rule, &relabel->rules[i], &opts, &why);
        const int known = rule.action >= 0 && rule.action < ACTION_COUNT;
        if (rc == PRA_ERR_NOMEM)
            return pra__nomem(err);
        if (rc)
            return pra__error(err, rc, 0, "relabel rule %zu%s%s%s: %s", i + 1, known ? " (" : "",
                              known ? action_names[rule.action] : "", known ? ")" : "",
                              why.message);
    }
    return PRA_OK;
}

int pra_relabel_new(const pra_alloc *alloc, const pra_relabel_rule *rules, size_t count,
                    const pra_limits *limits, pra_relabel **out, pra_error *err)
{
    pra_limits all;
    if (!out || (!rules && count))
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "rules or out are missing");
    int rc = pra__limits_resolve(limits, &all);
    if (rc)
        return pra_error_set_cstr(err, rc, "limits are not valid");
    if (count && rules->size < sizeof(size_t))
        return pra_error_set_cstr(
            err, PRA_ERR_INVALID_ARG,
            "relabel rule 1: size is wrong or unknown: call pra_relabel_rule_init first");
    pra_alloc own = pra__alloc_copy(alloc);
    pra_relabel *relabel = pra__calloc(&own, sizeof(*relabel));
    if (!relabel)
        return pra__nomem(err);
    relabel->alloc = own;
    relabel->limits = all;
    pra__arena_init(&relabel->arena, &own, 0);
    rc = PRA_ERR_NOMEM;
    if (count <= SIZE_MAX / sizeof(*relabel->rules))
        relabel->rules = pra_arena_alloc(&relabel->arena, count * sizeof(*relabel->rules), 16);
    if (relabel->rules) {
        memset(relabel->rules, 0, count * sizeof(*relabel->rules));
        rc = read_rules(relabel, rules, count, err);
    } else {
        (void)pra__nomem(err);
    }
    if (rc)
        pra_relabel_free(relabel);
    else
        *out = relabel;
    return rc;
}

void pra_relabel_free(pra_relabel *relabel)
{
    if (!relabel)
        return;
    pra_alloc alloc = relabel->alloc;
    for (size_t i = 0; i < relabel->count; i++)
        pra__program_free(relabel->rules[i].program);
    pra__arena_fini(&relabel->arena);
    pra__free(&alloc, relabel, sizeof(*relabel));
}
