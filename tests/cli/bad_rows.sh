#!/bin/sh
# tests/cli/bad_rows.sh - rows and pictures that cannot be used
. "${0%/*}/../lib.sh"

ral-synth -q --rows 12 --objects 2 --name x -o data
policy m
cp data/images/x/000001.png good.png
row() {                 # row ID [PICTURE]: one row of a JSONL file
    printf '{"id":"%s","messages":[{"role":"user","content":[{"type":"image","image":"%s"},{"type":"text","text":"What?"}]}],"answer":"red"}\n' \
        "$1" "${2:-good.png}"
}

# Neither sampling nor training leaves anything but one line on stderr.
bad() {                 # bad NAME FILE TEXT: both programs refuse the rows
    expect 1 "$1: rollout" ral-rollout -q -m m -n 2 --max-tokens 2 \
        -o out.ral "$2"
    says "$3"
    expect 1 "$1: update" ral-update -q --sft -m m -o u "$2"
    says "$3"
    absent "$1: nothing is left" out.ral* u u.* data/out*
}

# --- pictures ---
echo 'not a picture' >text.png
row a text.png >rows
bad 'an image that is none' rows 'rows:1: '
said 'and names the file' 'text.png'
head -c 200 good.png >cut.png
row a cut.png >rows
bad 'a truncated PNG' rows 'cut.png: truncated PNG'
row a nosuch.png >rows
bad 'a missing image' rows 'nosuch.png: cannot open'
: >empty.png
row a empty.png >rows
bad 'an empty image' rows 'rows:1: '
mkdir folder.png
row a folder.png >rows
bad 'a folder for an image' rows 'folder.png: not a regular file'
mkfifo pipe.png
row a pipe.png >rows
bad 'a pipe for an image' rows 'pipe.png: not a regular file'
{ head -c 300 good.png; printf 'XXXXXXXX'; tail -c +309 good.png; } >flip.png
row a flip.png >rows
bad 'a damaged PNG' rows 'flip.png: '
{ row a; row b; row c cut.png; row d; } >rows
bad 'the third of four' rows 'rows:3: '

# --- a few that fail stay in the stream ---
{ for i in 1 2 3 4 5 6 7 8 9; do row $i; done; row last cut.png; } >rows
expect 0 'one of ten' ral-rollout -m m -n 1 --max-tokens 1 -o some.ral rows
says '1 of 10 rows failed; the first: rows:10: '
ral-view some.ral | tail -n 1 >last
expect 0 'it is in the stream, with its reason' grep -q \
    '"id":"last".*"samples":\[\],"status":"failed","error":"rows:10: ' last
expect 3 'none may fail' ral-rollout -q --max-failed 0 -m m -n 1 \
    --max-tokens 1 -o out.ral rows
says 'cut.png: truncated PNG'
expect 2 'a share below 0' ral-rollout --max-failed -0.5 -m m rows
absent 'nothing is left' out.ral*

# --- files ---
: >rows
bad 'an empty file' rows 'rows: holds no rows'
printf '\n  \n' >rows
bad 'blank lines' rows 'rows: holds no rows'
bad 'no file' nosuch.jsonl 'nosuch.jsonl: cannot open'
{ row a; row b; echo '{"id":"c","messages":['; row d; } >rows
bad 'a line that does not parse' rows 'rows:3: '
{ row a; echo; echo '[1,2]'; } >rows
bad 'a row that is a list' rows 'rows:3: a row must be an object'
{ row a; echo '{"id":"b"}'; } >rows
bad 'a row without messages' rows 'rows:2: messages must be a list'
{ row a; row b; row c; row b; } >rows
bad 'duplicate ids' rows 'rows:4: its id stands on line 2 already'
{ row a; echo '{"id":7,"messages":[]}'; } >rows
bad 'an id that is a number' rows 'rows:2: id must be a text'
printf '{"id":"a\377","messages":[]}\n' >rows
bad 'no UTF-8' rows 'rows:1: '
{ row a | tr -d '\n'; printf '\000\n'; } >rows
bad 'a NUL byte' rows 'rows:1: '
awk 'BEGIN { printf "{\"id\":"; for (i = 0; i < 5000; i++) printf "["; print "" }' >rows
bad 'nested too deep' rows 'rows:1: '
row a | ral-rollout -q -m m -n 1 --max-tokens 1 -o s.ral
bad 'a stream where rows are expected' s.ral 's.ral: is a record stream'
expect 1 'the same through a pipe' sh -c 'ral-rollout -q -m m -o out.ral <s.ral'
says 'stdin: is a record stream'
expect 1 'and nothing' sh -c 'ral-rollout -q -m m -o out.ral </dev/null'
says 'stdin: holds no rows'

# --- messages ---
turn() {                # turn CONTENT [FIELDS]
    printf '{"id":"a","messages":[{"role":"user","content":%s}],"answer":"red"%s}\n' \
        "$1" "${2:+,$2}" >rows
}
bare='{"type":"image"}'
turn "[$bare,$bare]" '"images":["good.png"]'
bad 'more bare images than images[]' rows 'rows:1: 2 bare images but images[] holds 1'
turn "[$bare]" '"images":["good.png","good.png"]'
bad 'fewer' rows 'rows:1: images[] holds 2, its messages use 1'
turn "[$bare]"
bad 'no images[]' rows 'rows:1: 1 bare images but images[] holds 0'
turn '"text alone"' '"images":["good.png"]'
bad 'images[] without a place' rows 'rows:1: images[] holds 1, its messages use 0'
turn "[$bare]" '"images":[7]'
bad 'images[] of numbers' rows 'rows:1: images[0]: names no picture'
turn '[{"type":"image","image":7}]'
bad 'an image that is a number' rows 'rows:1: messages[0]: content[0]: names no'
turn '[{"type":"image_url","image_url":{"url":"https://x.org/good.png"}}]'
bad 'a picture elsewhere' rows "rows:1: messages[0]: content[0]: 'https://x.org/good.png' is no file; this version reads pictures from files alone"
turn '[{"type":"image","image":"data:image/png;base64,iVBORw0KGgo="}]'
bad 'a picture in the row' rows "rows:1: messages[0]: content[0]: 'data:image/png"
turn '[{"type":"image_url","image_url":{"detail":"low"}}]'
bad 'a link without an address' rows 'rows:1: messages[0]: content[0]: names no picture'
turn "[$bare]" '"images":["HTTP://x.org/good.png"]'
bad 'images[] elsewhere' rows "rows:1: images[0]: 'HTTP://"
turn '[{"type":"video","video":"x.mp4"}]'
bad 'a video' rows 'rows:1: messages[0]: content[0] is a video'
turn '"<|im_end|>"'
bad 'a marker in the text' rows 'special marker <|im_end|>'
turn '7'
bad 'content that is a number' rows 'rows:1: messages[0]: '
awk 'BEGIN { printf "{\"messages\":[{\"role\":\"user\",\"content\":\"";
    for (i = 0; i < 5000; i++) printf "blue ";
    print "\"}],\"answer\":\"red\"}" }' >rows
bad 'a prompt over the context' rows 'the context of 4096'
row a >rows
expect 1 'room for the response, too' ral-rollout -q -m m --max-tokens 4096 \
    -o out.ral rows
says 'rows:1: prompt of '
expect 1 'scoring a row without a reply' ral-rollout -q --given -m m \
    -o out.ral rows
says "rows:1: its last message must be the assistant's"
printf '{"messages":[{"role":"user","content":"?"},{"role":"assistant","content":"x"}]}\n' >rows
expect 1 'sampling a row with one' ral-rollout -q -m m -o out.ral rows
says 'rows:1: ends with an assistant message; --given'
turn '"?"' '"samples":[]'
expect 1 'a field that streams use' ral-rollout -q -m m -n 1 --max-tokens 1 \
    -o out.ral rows
says 'field samples, which streams use themselves'
turn '"?"'
expect 1 'a response template without its field' ral-update -q --sft -m m \
    -s 'data.response_template={choice}' -o u rows
says 'rows:1: response_template'
expect 1 'where that passes none' ral-rollout -q -m m -o out.ral \
    -s 'data.where=[answer=blue]' rows
says 'rows: none of its 1 rows passes where'
expect 2 'where without a value' ral-rollout -q -m m -o out.ral \
    -s 'data.where=[answer]' rows
says "where 'answer': must be key=value"
absent 'nothing is left of these' out.ral* u u.*

# --- pictures that others broke ---
tars=${RAL_DATA:-$top/../shared/data}/media
if [ -f "$tars/manifest.tsv" ]; then
    mkdir media
    for t in "$tars"/*.tar; do tar -xf "$t" -C media; done
    awk -F '\t' '$1 ~ /\.png$/ && $2 == "image" && $10 == "error" { print $1 }' \
        "$tars/manifest.tsv" >names
    bad=0
    while read -r f; do
        [ -e "media/$f" ] || continue
        row "$f" "media/$f" >rows
        st=0
        ral-rollout -q -m m -n 1 --max-tokens 1 -o out.ral rows 2>err || st=$?
        [ "$st" -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] &&
            grep -qF "rows:1: " err && [ ! -e out.ral ] && continue
        echo "# $f: exit $st"
        bad=1
    done <names
    holds 'ten broken PNG files or more' "$(wc -l <names) >= 10"
    ok $bad 'each is refused by one line'
else
    ok 0 'broken PNG files # SKIP no shared/data'
fi
finish
