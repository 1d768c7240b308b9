#!/usr/bin/env bash
# quality.sh MODEL CALIBRATION_TEXT EVALUATION_TEXT LLAMA_CPP_BIN OUT_DIR [TYPE…]
#
# Makes files of every type with every method, ours and llama.cpp's from the same calibration text, and compares
# all of them with MODEL: OUT_DIR/quality.md and quality.html have size against KL divergence. Linear layers alone differ: the token
# embedding is F16 everywhere. Needs about 2 GB of disk for each type of a model of 135M weights; what is there is not made again.
set -euo pipefail
model=$1 calibration=$2 evaluation=$3 llama=$4 out=$5
shift 5
types=("$@")
[ $# -gt 0 ] || types=(Q2_K Q3_K_S Q4_0 Q4_1 Q4_K_S Q5_0 Q5_1 Q5_K_S Q6_K IQ4_NL IQ4_XS)
mkdir -p "$out"

make() { # make FILE COMMAND…: unless FILE is there
	local file=$1
	shift
	[ -e "$file" ] || "$@" >"$file.log" 2>&1 || { cat "$file.log"; exit 1; }
}

make "$out/f32.gguf" phi3conv convert "$model" -o "$out/f32.gguf" --type F32
make "$out/llama.imatrix.gguf" "$llama/llama-imatrix" -m "$out/f32.gguf" -f "$calibration" -o "$out/llama.imatrix.gguf" -c 512 --chunks 100 --no-ppl
make "$out/text.gguf" phi3conv calibrate "$model" --text "$calibration" --chunks 100 --fisher -o "$out/text.gguf"
make "$out/self.gguf" phi3conv calibrate "$model" --chunks 100 --fisher -o "$out/self.gguf"

files=()
for type in "${types[@]}"; do
	common=(--pure --token-embedding-type F16)
	make "$out/$type-llama.gguf" "$llama/llama-quantize" --imatrix "$out/llama.imatrix.gguf" "${common[@]}" "$out/f32.gguf" "$out/$type-llama.gguf" "$type"
	make "$out/$type-rtn.gguf" phi3conv quantize "$model" "$out/$type-rtn.gguf" "$type" "${common[@]}"
	make "$out/$type-imatrix.gguf" phi3conv quantize "$model" "$out/$type-imatrix.gguf" "$type" "${common[@]}" --stats "$out/llama.imatrix.gguf"
	for text in text self; do
		make "$out/$type-gptq-$text.gguf" phi3conv quantize "$model" "$out/$type-gptq-$text.gguf" "$type" "${common[@]}" --method gptq --stats "$out/$text.gguf"
	done
	for way in llama rtn imatrix gptq-text gptq-self; do
		files+=("$out/$type-$way.gguf")
	done
done
phi3conv verify "${files[@]}" --base "$model" --text "$evaluation" --chunks 40 --report "$out/quality.json" \
	--markdown "$out/quality.md" --html "$out/quality.html"
