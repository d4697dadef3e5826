/* lib/conf/yaml.h - one small YAML document as a tree of nodes. */
#ifndef RAL_YAML_H
#define RAL_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum ral_yaml_type { RAL_YAML_SCALAR, RAL_YAML_SEQUENCE, RAL_YAML_MAPPING };

struct ral_yaml_node {
    enum ral_yaml_type type;
    const char *text;    // of a scalar; NULL otherwise
    bool plain;          // a scalar without quotes: may be a number
    size_t line, column; // from 1
    const char *key;     // of a mapping's entry; NULL otherwise
    size_t key_line, key_column;
    size_t n;                           // entries of a sequence or mapping
    struct ral_yaml_node *first, *next; // first entry; next of the parent
};

struct ral_yaml {
    const char *path;           // as messages name it
    struct ral_yaml_node *root; // an empty document is an empty mapping
    struct ral_arena arena;
};

/**
 * Reads one document of at most 1 MiB. Duplicate keys, keys that are not
 * scalars, anchors and aliases (a few lines could stand for gigabytes), tags,
 * a second document and more than 32 levels are errors with their place:
 * "recipe.yaml:12:3: ...".
 */
int ral_yaml_read(struct ral_yaml **out, const char *path, struct ral_err *err);
/* The same from memory; path is for messages. */
int ral_yaml_parse(struct ral_yaml **out, const char *text, size_t len,
                   const char *path, struct ral_err *err);
void ral_yaml_free(struct ral_yaml *y);

/* The node at a path of keys, "train.steps"; NULL where there is none. */
const struct ral_yaml_node *ral_yaml_get(const struct ral_yaml_node *from,
                                         const char *path);

/**
 * A scalar's value; -RAL_EINVAL, without message, when it is of another type.
 * Booleans are true and false; numbers are plain, decimal and finite.
 */
int ral_yaml_bool(const struct ral_yaml_node *v, bool *out);
int ral_yaml_i64(const struct ral_yaml_node *v, int64_t *out);
int ral_yaml_f64(const struct ral_yaml_node *v, double *out);
/* Nothing, ~ or null, without quotes. */
bool ral_yaml_is_null(const struct ral_yaml_node *v);

#endif
