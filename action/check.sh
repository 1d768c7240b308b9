#!/bin/sh
# check.sh: converts a model, verifies the result, and reports, in continuous integration: for action.yml on GitHub and
# templates/check.yml on GitLab, or by hand. Variables say what:
#
#   MODEL      the original: a checkpoint directory or a GGUF file, on a disk or elsewhere (hf://…)
#   TEXT       a text that calibration has not seen
#   TYPE       the type to quantize to (Q4_K_M); CONVERT_ARGS has further arguments of convert
#   QUANT      a quantized model to verify instead
#   LIMITS     a file of limits (verify --thresholds); BASELINE, an earlier report: it must not be worse
#   VERIFY_ARGS  further arguments of verify
#   OUT        the directory for the model and the reports (phi3conv-check)
#
# Needs phi3conv, and for the comment curl and jq. Ends with the exit code of the first command that failed: 1 if the
# model is not what it should be. A comment that cannot be written is no failure.
set -u
: "${MODEL:?the original model}" "${TEXT:?a text}"
out=${OUT:-phi3conv-check} quant=${QUANT:-} code=0
mkdir -p "$out" || exit 4
rm -f "$out/lint.md" "$out/verify.md" # of an earlier run

keep() { # COMMAND…: the code of the first that fails
	"$@" && return
	failed=$?
	[ "$code" != 0 ] || code=$failed
	return "$failed"
}

# CONVERT_ARGS and VERIFY_ARGS are words.
# shellcheck disable=SC2086
check() {
	keep phi3conv lint "$MODEL" --markdown "$out/lint.md" --junit "$out/lint.xml" --sarif "$out/lint.sarif"
	if [ -z "$quant" ]; then
		quant=$out/model.gguf
		keep phi3conv convert "$MODEL" -o "$quant" --type "${TYPE:-Q4_K_M}" ${CONVERT_ARGS:-} || return
	fi
	set -- "$quant" --base "$MODEL" --text "$TEXT" --report "$out/verify.json" --junit "$out/verify.xml" \
		--markdown "$out/verify.md" --html "$out/verify.html"
	[ -z "${LIMITS:-}" ] || set -- "$@" --thresholds "$LIMITS"
	[ -z "${BASELINE:-}" ] || set -- "$@" --baseline "$BASELINE"
	keep phi3conv verify "$@" ${VERIFY_ARGS:-}
}
check

# The summary, which the comment is, too.
title=${TITLE:-phi3conv}
case $code in 0) verdict=passed ;; 1) verdict="not passed" ;; *) verdict="failed with exit code $code" ;; esac
{
	printf '<!-- phi3conv: %s -->\n## %s: %s\n\n' "$title" "$title" "$verdict"
	for part in verify lint; do
		[ ! -s "$out/$part.md" ] || { cat "$out/$part.md" && echo; }
	done
} >"$out/summary.md"
[ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$out/summary.md" >>"$GITHUB_STEP_SUMMARY"

# request METHOD URL [JSON-FILE]: asks GitHub or GitLab. The token is not among the arguments, which others can see.
request() {
	printf 'header = "%s"\n' "$header" | curl --silent --show-error --fail --max-time 60 --config - \
		-H 'Content-Type: application/json' -X "$1" ${3:+--data-binary "@$3"} "$2"
}

# comment LIST CREATE EDIT METHOD: one comment, which later runs replace. It is found by the mark in its first line.
comment() {
	mark=$(head -n 1 "$out/summary.md") page=1 id=''
	head -c 60000 "$out/summary.md" | jq -Rs '{body: .}' >"$out/.comment.json" || return
	while [ -z "$id" ] && [ "$page" -le 20 ]; do
		list=$(request GET "$1?per_page=100&page=$page") || return
		id=$(printf %s "$list" | jq --arg mark "$mark" \
			'[.[] | select(.body | split("\n")[0] | rtrimstr("\r") == $mark) | .id][0] // empty') || return
		[ "$(printf %s "$list" | jq length)" = 100 ] || page=20
		page=$((page + 1))
	done
	if [ -n "$id" ]; then request "$4" "$3/$id" "$out/.comment.json"; else request POST "$2" "$out/.comment.json"; fi
}

# On GitHub for pull requests from the same repository alone: the token of others may not write.
say() {
	case ${COMMENT:-true} in true | 1) ;; *) return 0 ;; esac
	if [ -n "${GITHUB_TOKEN:-}" ] && [ -n "${GITHUB_EVENT_PATH:-}" ]; then
		number=$(jq -r 'select(.pull_request.head.repo.full_name == .repository.full_name) | .pull_request.number' \
			"$GITHUB_EVENT_PATH") || return
		[ -n "$number" ] || return 0
		header="Authorization: Bearer $GITHUB_TOKEN"
		url=${GITHUB_API_URL:-https://api.github.com}/repos/$GITHUB_REPOSITORY/issues
		comment "$url/$number/comments" "$url/$number/comments" "$url/comments" PATCH
	elif [ -n "${GITLAB_TOKEN:-}" ] && [ -n "${CI_MERGE_REQUEST_IID:-}" ]; then
		header="PRIVATE-TOKEN: $GITLAB_TOKEN"
		url=$CI_API_V4_URL/projects/$CI_PROJECT_ID/merge_requests/$CI_MERGE_REQUEST_IID/notes
		comment "$url" "$url" "$url" PUT
	fi
}
say >/dev/null || echo "phi3conv: the comment was not written" >&2
rm -f "$out/.comment.json"

if [ -n "${GITHUB_OUTPUT:-}" ]; then printf 'verdict=%s\nquant=%s\nreports=%s\n' "$verdict" "$quant" "$out" >>"$GITHUB_OUTPUT"; fi
exit "$code"
