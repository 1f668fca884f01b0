# Targets of "go tool mage" and their flags, for Bash; in Zsh after: autoload -U +X bashcompinit && bashcompinit

mage() { go tool mage "$@"; }

_ingot_complete() {
  local line=${COMP_LINE:0:COMP_POINT} target words
  local word=${line##* } # the whole of it: Bash takes a colon for the end of a word
  if [[ $word == -* ]]; then
    target=$(grep -oE '[^ ]+' <<<"${line% *}" | grep -v '^-' | tail -n 1)
    words=$(go tool mage -h "$target" 2>/dev/null | grep -oE '^[[:space:]]+-[A-Za-z]+=?' | tr -d '[:space:]=' | tr '-' '\n' | sed 's/./-&/')
  else
    words=$(go tool mage -l 2>/dev/null | sed -n 's/^  \([a-z][A-Za-z:]*\)\**  .*/\1/p')
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
  if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
    COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
  fi
}
complete -F _ingot_complete mage
