/* lib/data/where.c - values of a JSON object, and conditions on them. */
#include "data/where.h"

#include <stdio.h>
#include <string.h>

const json_t *ral_json_at(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    const char *dot = strchr(key, '.');

    // A name may hold dots itself, so every dot is tried.
    for (; !v && dot; dot = strchr(dot + 1, '.'))
        v = ral_json_at(json_object_getn(object, key, (size_t)(dot - key)),
                        dot + 1);
    return v;
}

static bool value_is(const json_t *v, const char *text, size_t n)
{
    char num[32];

    if (json_is_string(v))
        return json_string_length(v) == n &&
               !memcmp(json_string_value(v), text, n);
    if (json_is_integer(v))
        snprintf(num, sizeof num, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        snprintf(num, sizeof num, "%.17g", json_real_value(v));
    else if (json_is_boolean(v))
        snprintf(num, sizeof num, "%s", json_is_true(v) ? "true" : "false");
    else
        return false;
    return strlen(num) == n && !memcmp(num, text, n);
}

static bool holds(const json_t *object, const char *where)
{
    const char *eq = strchr(where, '='), *v = eq + 1;
    const bool not = eq > where && eq[-1] == '!';
    char key[256];
    const json_t *value;
    bool any = false;

    snprintf(key, sizeof key, "%.*s", (int)(eq - where - not), where);
    value = ral_json_at(object, key);
    for (;;) {
        const char *comma = strchrnul(v, ',');

        any |= value_is(value, v, (size_t)(comma - v));
        if (!*comma)
            break;
        v = comma + 1;
    }
    return any != not;
}

int ral_where_check(const char *const *where, size_t n, struct ral_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *eq = strchr(where[i], '=');

        if (!eq || eq == where[i] || eq - where[i] > 200)
            return ral_err_set(err, -RAL_EUSAGE,
                               "where '%s': must be key=value,value or "
                               "key!=value,value",
                               where[i]);
    }
    return 0;
}

bool ral_where_holds(const json_t *object, const char *const *where, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!holds(object, where[i]))
            return false;
    return true;
}
