"""The scripts by which shells complete the command line. Each asks `completing.py`; candidates are never evaluated."""

from __future__ import annotations

from typing import Final

__all__ = ["SCRIPTS"]

_BASH: Final = """\
# bash completion for tensorbundle, from: tensorbundle completion bash
_tensorbundle_table={table}
_tensorbundle() {{
    local kind='' word
    COMPREPLY=()
    while IFS= read -r word; do
        if [[ -z $kind ]]; then kind=$word; else COMPREPLY+=("$word"); fi
    done < <({variable}=$_tensorbundle_table COMP_WORDBREAKS=$COMP_WORDBREAKS \\
        "${{COMP_WORDS[0]}}" __complete bash "${{COMP_LINE:0:COMP_POINT}}" 2>/dev/null)
    case $kind in
        files) compopt -o filenames; while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$2") ;;
        directories) compopt -o filenames; while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -d -- "$2") ;;
        *) if [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == *[/=] ]]; then compopt -o nospace; fi ;;
    esac
}}
complete -F _tensorbundle tensorbundle
"""
_ZSH: Final = """\
#compdef tensorbundle
# zsh completion for tensorbundle, from: tensorbundle completion zsh
_tensorbundle_table={table}
_tensorbundle() {{
    local -a lines scopes names
    lines=("${{(@f)$({variable}=$_tensorbundle_table ${{(Q)words[1]}} __complete zsh "${{(@Q)words[1,CURRENT-1]}}" "${{(Q)PREFIX}}" 2>/dev/null)}}")
    case $lines[1] in
        files) _files; return ;;
        directories) _files -/; return ;;
    esac
    shift lines
    scopes=(${{(M)lines:#*[/=]}})
    names=(${{lines:#*[/=]}})
    local added=1
    compadd -S '' -a scopes && added=0
    compadd -a names && added=0
    return added
}}
if [[ ${{funcstack[1]}} == _tensorbundle ]]; then _tensorbundle "$@"; else compdef _tensorbundle tensorbundle; fi
"""
_FISH: Final = """\
# fish completion for tensorbundle, from: tensorbundle completion fish
set -g _tensorbundle_table {table}
function _tensorbundle
    set -l words (commandline -opc) (commandline -ct)
    set -l lines ({variable}="$_tensorbundle_table" $words[1] __complete fish $words 2>/dev/null)
    switch "$lines[1]"
        case files
            __fish_complete_path (commandline -ct)
        case directories
            __fish_complete_directories (commandline -ct)
        case '*'
            printf '%s\\n' $lines[2..-1]
    end
end
complete -c tensorbundle -f -a '(_tensorbundle)'
"""
SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
