#!/usr/bin/env bash
# quality.sh MODEL CALIBRATION_TEXT EVALUATION_TEXT LLAMA_CPP_BIN OUT_DIR [TYPE…]
#
# Makes files of every type with every method, ours and llama.cpp's from the same calibration text, and files of the sizes of
# llama.cpp's mixtures, and compares all of them with MODEL in one run: quality.md's tables and quality.svg, OUT_DIR/quality.html.
# Linear layers alone differ: the token embedding is F16 everywhere. Needs about 1 GB of disk for each type of a model of
# 190M weights and, on two cores, six hours; what is there is not made again.
set -euo pipefail
model=$1 calibration=$2 evaluation=$3 llama=$4 out=$5
shift 5
types=("$@")
[ $# -gt 0 ] || types=(IQ2_XS IQ2_S Q2_K IQ3_XXS IQ3_S Q3_K_S Q4_0 Q4_1 Q4_K_S Q5_0 Q5_1 Q5_K_S Q6_K IQ4_NL IQ4_XS)
mkdir -p "$out"

make() { # make FILE COMMAND…: unless FILE is there
	local file=$1
	shift
	[ -e "$file" ] || "$@" >"$file.log" 2>&1 || { cat "$file.log"; exit 1; }
}

make "$out/f32.gguf" phi3conv convert "$model" -o "$out/f32.gguf" --type F32
make "$out/llama.imatrix.gguf" "$llama/llama-imatrix" -m "$out/f32.gguf" -f "$calibration" -o "$out/llama.imatrix.gguf" -c 512 --chunks 100 --no-ppl
make "$out/text.gguf" phi3conv calibrate "$model" --text "$calibration" --chunks 40 --fisher -o "$out/text.gguf"
make "$out/long.gguf" phi3conv calibrate "$model" --text "$calibration" --chunks 100 --fisher -o "$out/long.gguf"
make "$out/self.gguf" phi3conv calibrate "$model" -o "$out/self.gguf"

embedding=(--token-embedding-type F16)
for type in "${types[@]}"; do
	common=(--pure "${embedding[@]}")
	make "$out/$type-llama.gguf" "$llama/llama-quantize" --imatrix "$out/llama.imatrix.gguf" "${common[@]}" "$out/f32.gguf" "$out/$type-llama.gguf" "$type"
	make "$out/$type-rtn.gguf" phi3conv quantize "$model" "$out/$type-rtn.gguf" "$type" "${common[@]}"
	make "$out/$type-imatrix.gguf" phi3conv quantize "$model" "$out/$type-imatrix.gguf" "$type" "${common[@]}" --stats "$out/llama.imatrix.gguf"
	make "$out/$type-awq.gguf" phi3conv quantize "$model" "$out/$type-awq.gguf" "$type" "${common[@]}" --method awq --stats "$out/text.gguf"
	make "$out/$type-gptq-text.gguf" phi3conv quantize "$model" "$out/$type-gptq-text.gguf" "$type" "${common[@]}" --method gptq --stats "$out/text.gguf"
done
make "$out/Q5_1-gptq-long.gguf" phi3conv quantize "$model" "$out/Q5_1-gptq-long.gguf" Q5_1 --pure "${embedding[@]}" --method gptq --stats "$out/long.gguf"
make "$out/Q4_K_S-gptq-self.gguf" phi3conv quantize "$model" "$out/Q4_K_S-gptq-self.gguf" Q4_K_S --pure "${embedding[@]}" --method gptq --stats "$out/self.gguf"

budget() { # budget NAME FLAG VALUE
	local common=("$2" "$3" "${embedding[@]}" --method gptq --stats "$out/text.gguf")
	make "$out/$1-budget.gguf" phi3conv quantize "$model" "$out/$1-budget.gguf" "${common[@]}"
	make "$out/$1-split.gguf" phi3conv quantize "$model" "$out/$1-split.gguf" "${common[@]}" --split-qkv
}
for type in Q3_K_M IQ4_XS Q4_K_M; do
	mixture=$out/$type.mix-llama.gguf
	make "$mixture" "$llama/llama-quantize" --imatrix "$out/llama.imatrix.gguf" "${embedding[@]}" "$out/f32.gguf" "$mixture" "$type"
	budget "$type.mix" --size "$(stat -c %s "$mixture")"
done
budget 3.77bpw --bpw 3.77
phi3conv verify "$out"/*-{llama,rtn,imatrix,awq,gptq-*,budget,split}.gguf --base "$model" --text "$evaluation" --chunks 40 \
	--report "$out/quality.json" --html "$out/quality.html"
docs=$(realpath "$(dirname "$0")")
out=$(realpath "$out")
(cd "$docs" && go run ./quality "$out/quality.json" "$docs")
