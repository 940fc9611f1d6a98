/* SPDX-License-Identifier: Apache-2.0 */
#include "flags.h"

#include <ctype.h>
#include <string.h>

/* ---- values */

/* Digits at *text, which moves behind them. */
static int take_digits(const char **text, uint64_t *out)
{
    const char *p = *text;
    uint64_t value = 0;
    if (!isdigit((unsigned char)*p))
        return 0;
    for (; isdigit((unsigned char)*p); p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return 0;
        value = value * 10 + digit;
    }
    *text = p;
    *out = value;
    return 1;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* A unit at *text, which moves behind it; the longest that fits. */
static int take_unit(const char **text, const struct unit *units, size_t count, uint64_t *factor)
{
    size_t best = 0;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(units[i].name);
        if (len >= best && strncmp(*text, units[i].name, len) == 0) {
            best = len;
            *factor = units[i].factor;
        }
    }
    *text += best;
    return best > 0;
}

int cli_parse_number(const char *text, uint64_t *out)
{
    uint64_t value, zeros = 0;
    if (!take_digits(&text, &value) || (*text == 'e' && (text++, !take_digits(&text, &zeros))) ||
        *text)
        return 0;
    for (; zeros && value; zeros--) {
        if (value > UINT64_MAX / 10)
            return 0;
        value *= 10;
    }
    *out = value;
    return 1;
}

/* KB and MB are powers of two, as in Prometheus' own flags. */
int cli_parse_size(const char *text, uint64_t *out)
{
    static const struct unit units[] = {
        {"B", 1},         {"KB", 1 << 10},           {"KiB", 1 << 10},
        {"MB", 1 << 20},  {"MiB", 1 << 20},          {"GB", 1 << 30},
        {"GiB", 1 << 30}, {"TB", UINT64_C(1) << 40}, {"TiB", UINT64_C(1) << 40}};
    uint64_t value, factor = 1;
    if (!take_digits(&text, &value))
        return 0;
    if (*text && !take_unit(&text, units, sizeof(units) / sizeof(units[0]), &factor))
        return 0;
    if (*text || value > UINT64_MAX / factor)
        return 0;
    *out = value * factor;
    return 1;
}

int cli_parse_duration(const char *text, uint64_t *out)
{
    static const struct unit units[] = {{"ms", 1},
                                        {"s", 1000},
                                        {"m", 60000},
                                        {"h", 3600000},
                                        {"d", UINT64_C(86400000)},
                                        {"w", UINT64_C(604800000)},
                                        {"y", UINT64_C(31536000000)}};
    uint64_t total = 0, value, factor;
    if (strcmp(text, "0") == 0) {
        *out = 0;
        return 1;
    }
    do {
        if (!take_digits(&text, &value) ||
            !take_unit(&text, units, sizeof(units) / sizeof(units[0]), &factor) ||
            value > (UINT64_MAX - total) / factor)
            return 0;
        total += value * factor;
    } while (*text);
    *out = total;
    return 1;
}

/* ---- typing errors */

enum { NAME_MAX_BYTES = 64 };

/* Edits (insert, remove, replace a letter) that make b out of a. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_BYTES + 1], len = strlen(b);
    for (size_t j = 0; j <= len; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t before = row[0]++;
        for (size_t j = 0; j < len; j++) {
            size_t replaced = before + (a[i] != b[j]);
            size_t least = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
            before = row[j + 1];
            row[j + 1] = least < replaced ? least : replaced;
        }
    }
    return row[len];
}

/* A word that ends like "listen-address" of "web.listen-address" counts as near. */
static size_t difference(const char *text, const char *name)
{
    size_t len = strlen(text), whole = strlen(name);
    if (len >= 4 && len < whole && strcmp(name + whole - len, text) == 0)
        return 1;
    return distance(text, name);
}

const char *cli_nearest(const char *text, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t len = strlen(text), least = len / 3 + 1;
    if (len > NAME_MAX_BYTES)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t d = strlen(names[i]) <= NAME_MAX_BYTES ? difference(text, names[i]) : SIZE_MAX;
        if (d <= least && (!best || d < least)) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

/* ---- parsing */

static const char *kind_name(enum cli_kind kind)
{
    switch (kind) {
    case CLI_NUMBER:
        return "a number";
    case CLI_SIZE:
        return "a size such as 512KiB, 32MiB or 1GiB";
    case CLI_DURATION:
        return "a duration such as 15s, 5m, 2h, 30d, 1w or 1y";
    default:
        return "a value";
    }
}

static int set_value(const cli_flag *flag, const char *text)
{
    switch (flag->kind) {
    case CLI_TEXT:
        *(const char **)flag->value = text;
        return 1;
    case CLI_LIST: {
        cli_list *list = flag->value;
        if (list->count == CLI_LIST_MAX)
            return 0;
        list->items[list->count++] = text;
        return 1;
    }
    case CLI_SWITCH:
        *(int *)flag->value = strcmp(text, "true") == 0;
        return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
    case CLI_NUMBER:
        return cli_parse_number(text, flag->value);
    case CLI_SIZE:
        return cli_parse_size(text, flag->value);
    case CLI_DURATION:
        return cli_parse_duration(text, flag->value);
    }
    return 0;
}

static int wrong(const cli_usage *usage, const char *fmt, const char *a, const char *b)
{
    size_t words = strcspn(usage->synopsis, "[");
    while (words && usage->synopsis[words - 1] == ' ')
        words--;
    (void)fprintf(stderr, "%.*s: ", (int)words, usage->synopsis);
    (void)fprintf(stderr, fmt, a, b);
    (void)fprintf(stderr, "\nRun `%.*s --help` for all flags.\n", (int)words, usage->synopsis);
    return CLI_WRONG;
}

static const cli_flag *find_flag(const cli_usage *usage, const char *name, size_t len)
{
    for (size_t i = 0; i < usage->flag_count; i++) {
        const cli_flag *flag = &usage->flags[i];
        if (flag->help && strlen(flag->name) == len && memcmp(flag->name, name, len) == 0)
            return flag;
    }
    return NULL;
}

static int unknown_flag(const cli_usage *usage, const char *name, size_t len)
{
    const char *names[128];
    char text[NAME_MAX_BYTES + 1];
    size_t count = 0;
    (void)snprintf(text, sizeof(text), "%.*s", (int)len, name);
    for (size_t i = 0; i < usage->flag_count && count < 128; i++)
        if (usage->flags[i].help)
            names[count++] = usage->flags[i].name;
    const char *near = cli_nearest(text, names, count);
    if (near)
        return wrong(usage, "unknown flag --%s; did you mean --%s?", text, near);
    return wrong(usage, "unknown flag --%s%s", text, "");
}

/* One argument that begins with "--"; *i moves when it takes the next one as its value. */
static int parse_flag(const cli_usage *usage, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const cli_flag *flag = find_flag(usage, name, len);
    if (!flag && !equals && len > 3 && strncmp(name, "no-", 3) == 0) {
        flag = find_flag(usage, name + 3, len - 3);
        if (flag && flag->kind == CLI_SWITCH)
            return !set_value(flag, "false");
        flag = NULL;
    }
    if (!flag)
        return unknown_flag(usage, name, len);
    const char *text = equals ? equals + 1 : flag->kind == CLI_SWITCH ? "true" : NULL;
    if (!text && *i + 1 >= argc)
        return wrong(usage, "--%s needs %s", flag->name, kind_name(flag->kind));
    if (!text)
        text = argv[++*i];
    if (!set_value(flag, text))
        return wrong(usage,
                     flag->kind == CLI_LIST     ? "--%s is given too often%.0s"
                     : flag->kind == CLI_SWITCH ? "--%s is true or false%.0s"
                                                : "--%s needs %s",
                     flag->name, kind_name(flag->kind));
    return CLI_RUN;
}

static void set_presets(const cli_usage *usage)
{
    for (size_t i = 0; i < usage->flag_count; i++)
        if (usage->flags[i].help && usage->flags[i].preset && usage->flags[i].kind != CLI_LIST)
            (void)set_value(&usage->flags[i], usage->flags[i].preset);
}

/* Lists grow, so their presets come last, where nothing was given. */
static void set_list_presets(const cli_usage *usage)
{
    for (size_t i = 0; i < usage->flag_count; i++) {
        const cli_flag *flag = &usage->flags[i];
        if (flag->help && flag->kind == CLI_LIST && flag->preset &&
            ((cli_list *)flag->value)->count == 0)
            (void)set_value(flag, flag->preset);
    }
}

int cli_parse(const cli_usage *usage, int argc, char **argv, cli_list *operands)
{
    size_t count = 0;
    int only_operands = 0;
    set_presets(usage);
    for (int i = 0; i < argc; i++) {
        if (only_operands || strncmp(argv[i], "-", 1) != 0 || strcmp(argv[i], "-") == 0) {
            if (count == usage->max_operands || count == CLI_LIST_MAX)
                return wrong(usage, "unexpected word \"%s\"%s", argv[i], "");
            operands->items[count++] = argv[i];
            operands->count = count;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            cli_help(usage, stdout);
            return CLI_HELP;
        } else if (strcmp(argv[i], "--") == 0) {
            only_operands = 1;
        } else if (strncmp(argv[i], "--", 2) != 0) {
            return wrong(usage, "unknown flag %s; flags begin with two dashes%s", argv[i], "");
        } else if (parse_flag(usage, argc, argv, &i)) {
            return CLI_WRONG;
        }
    }
    set_list_presets(usage);
    return CLI_RUN;
}

/* ---- help */

enum { HELP_WIDTH = 100 };

/* "--name=PRESET", as in Prometheus' help. */
static size_t print_flag_name(const cli_flag *flag, char *out, size_t cap)
{
    int n;
    if (flag->kind == CLI_SWITCH)
        n = snprintf(out, cap, "--[no-]%s", flag->name);
    else if (flag->preset && *flag->preset)
        n = snprintf(out, cap, "--%s=%s", flag->name, flag->preset);
    else
        n = snprintf(out, cap, "--%s=...", flag->name);
    return n < 0 ? 0 : (size_t)n;
}

/* Prints text wrapped into the columns from `left` on; the cursor is there already. */
static void print_wrapped(const char *text, size_t left, FILE *to)
{
    size_t room = HELP_WIDTH - left;
    while (strlen(text) > room) {
        size_t cut = room;
        while (cut > 0 && text[cut] != ' ')
            cut--;
        if (cut == 0)
            cut = strcspn(text, " ");
        (void)fprintf(to, "%.*s\n%*s", (int)cut, text, (int)left, "");
        text += cut;
        text += strspn(text, " ");
    }
    (void)fprintf(to, "%s\n", text);
}

void cli_help(const cli_usage *usage, FILE *to)
{
    char name[160];
    size_t left = 12;
    for (size_t i = 0; i < usage->flag_count; i++) {
        size_t len =
            usage->flags[i].help ? print_flag_name(&usage->flags[i], name, sizeof(name)) : 0;
        if (len + 4 > left && len <= 44)
            left = len + 4;
    }
    (void)fprintf(to, "usage: %s\n\n%s\n", usage->synopsis, usage->about);
    for (size_t i = 0; i < usage->flag_count; i++) {
        const cli_flag *flag = &usage->flags[i];
        if (!flag->help) {
            (void)fprintf(to, "\n%s\n", flag->name);
            continue;
        }
        size_t len = print_flag_name(flag, name, sizeof(name));
        if (len + 4 > left)
            (void)fprintf(to, "  %s\n%*s", name, (int)left, "");
        else
            (void)fprintf(to, "  %s%*s", name, (int)(left - len - 2), "");
        print_wrapped(flag->help, left, to);
    }
}
