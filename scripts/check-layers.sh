#!/usr/bin/env bash
# Refuses imports that the layers of the project do not allow (README, "File tree").
set -euo pipefail
cd "$(dirname "$0")/.."

allowed() {
  case $1 in
    JSONText) echo "CJansson" ;;
    Tensor) echo "CDNNL CDots COpenBLAS CPlatform CTiles Glibc Synchronization" ;;
    Model) echo "Tensor JSONText Glibc" ;;
    Tokenizer) echo "JSONText" ;;
    Checkpoint) echo "CXXHash CZlib CZstd Glibc JSONText" ;;
    Comm) echo "CMPI Glibc" ;;
    Worker) echo "CChildProcess Glibc JSONText Model Tensor Tokenizer" ;;
    Synthetic) echo "Foundation Glibc JSONText Tensor Tokenizer" ;;
    Coordinator) echo "CStopRequest Checkpoint Comm Foundation Glibc JSONText Model Synthetic Tensor Tokenizer Worker Yams" ;;
    sail) echo "ArgumentParser Comm Coordinator Foundation" ;;
    comm-check) echo "Comm Foundation Glibc" ;;
    *) echo "" ;;
  esac
}

failed=0
for folder in Sources/*/; do
  target=$(basename "$folder")
  compgen -G "$folder*.swift" >/dev/null || find "$folder" -name '*.swift' | grep -q . || continue
  while read -r file module; do
    case " $(allowed "$target") " in
      *" $module "*) ;;
      *)
        echo "$file: $target must not import $module" >&2
        failed=1
        ;;
    esac
  done < <(find "$folder" -name '*.swift' -print0 | xargs -0 awk '
    $1 == "import" { print FILENAME, $2 }
    $2 == "import" && $1 ~ /^(@|public|internal|private|package)/ { print FILENAME, $3 }')
done
exit $failed
