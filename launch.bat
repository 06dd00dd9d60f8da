@echo off
rem What launch.sh does, for Windows: makes venv, installs what the hardware needs and starts app.py.
rem   --test [-- PYTEST ARGUMENTS]   set up, then run the checks and the tests
rem   --exit                         end after the installation
rem   --skip-install                 install nothing
rem   --reinstall-torch              install torch afresh
rem   --xformers                     install xformers too, and use it where it fits
rem   --reinstall-xformers           install xformers afresh
rem Every other option goes to app.py. Environment: PYTHON, TORCH_COMMAND, TORCH_INDEX_URL, INDEX_URL, REQS_FILE,
rem XFORMERS_PACKAGE, COMMANDLINE_ARGS.
setlocal EnableExtensions DisableDelayedExpansion
cd /d "%~dp0"
if not defined REQS_FILE set "REQS_FILE=requirements.txt"
if not defined XFORMERS_PACKAGE set "XFORMERS_PACKAGE=xformers==0.0.35"
set "venv_python=venv\Scripts\python.exe"
for %%v in (test only_install skip_install reinstall_torch reinstall_xformers use_xformers arguments rest) do set "%%v="
call :options %COMMANDLINE_ARGS% %*
if not defined skip_install call :install || exit /b 1
if not exist "%venv_python%" (
    echo venv does not exist: start once without --skip-install. 1>&2
    exit /b 1
)
if defined only_install exit /b 0
if defined test goto :run_tests
"%venv_python%" app.py %arguments%
exit /b %errorlevel%

:options
if [%1]==[] exit /b 0
if defined rest goto :pass_on
if "%~1"=="--test" ( set "test=1" & shift & goto :options )
if "%~1"=="--exit" ( set "only_install=1" & shift & goto :options )
if "%~1"=="--skip-install" ( set "skip_install=1" & shift & goto :options )
if "%~1"=="--reinstall-torch" ( set "reinstall_torch=1" & shift & goto :options )
if "%~1"=="--reinstall-xformers" ( set "reinstall_xformers=1" & set "use_xformers=1" & shift & goto :options )
if "%~1"=="--xformers" set "use_xformers=1"
if "%~1"=="--" ( set "rest=1" & shift & goto :options )
:pass_on
set arguments=%arguments% %1
shift
goto :options

:supported
%* -c "import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))" >nul 2>nul
exit /b %errorlevel%

:find_python
if defined PYTHON goto :given_python
for %%p in ("python" "py -3.13" "py -3.12" "py -3.11" "py -3.10") do (
    set "chosen=%%~p"
    call :supported %%~p && exit /b 0
)
echo Python 3.10, 3.11, 3.12 or 3.13 was not found: install one from python.org or set PYTHON to its path. 1>&2
exit /b 1
:given_python
set chosen="%PYTHON:"=%"
call :supported %chosen% && exit /b 0
echo PYTHON=%PYTHON% is not a working Python 3.10, 3.11, 3.12 or 3.13: set PYTHON to one that is. 1>&2
exit /b 1

:ensure_venv
"%venv_python%" -c "import pip" >nul 2>nul && call :supported "%venv_python%" && if not defined PYTHON exit /b 0
call :find_python || exit /b 1
if exist venv rmdir /s /q venv
echo Making venv
%chosen% -m venv venv && exit /b 0
echo venv could not be made: see the lines above. 1>&2
exit /b 1

:pip_install
setlocal
set "only_index=%INDEX_URL%"
if defined index_url_of_torch set "only_index=%index_url_of_torch%"
set "index_option="
if defined only_index set index_option=--index-url "%only_index%"
where uv >nul 2>nul || goto :without_uv
uv pip install --python "%venv_python%" --only-binary :all: %index_option% %*
exit /b
:without_uv
"%venv_python%" -m pip install --only-binary :all: %index_option% %*
exit /b

:install_torch
set "again="
set "index_url_of_torch="
if exist venv\.torch set "again=--force-reinstall"
>venv\.torch echo unfinished
del /q venv\.requirements venv\.xformers venv\.test-requirements 2>nul
if defined TORCH_COMMAND goto :torch_command
if defined TORCH_INDEX_URL goto :torch_index
call :pip_install -r requirements-torch.txt -c constraints.txt %again%
exit /b
:torch_command
"%venv_python%" -m %TORCH_COMMAND% %again%
exit /b
:torch_index
set "pair="
for /f "delims=" %%l in ('findstr /b "torch== torchvision==" requirements-torch.txt') do call set "pair=%%pair%% %%l"
set "index_url_of_torch=%TORCH_INDEX_URL%"
call :pip_install %pair% %again%
set "result=%errorlevel%"
set "index_url_of_torch="
exit /b %result%

:install_requirements
call :pip_install -r "%REQS_FILE%" -c constraints.txt
exit /b

:install_test-requirements
call :pip_install -r requirements-test.txt -c constraints.txt
exit /b

:install_xformers
call :pip_install --no-deps --force-reinstall "%XFORMERS_PACKAGE%" || exit /b 1
"%venv_python%" -c "from modules.devices.choice import choose_compute as c, xformers_trouble as t; print(t(c().device) or 'xformers fits.')"
exit /b 0

rem once NAME FILE: runs :install_NAME unless it succeeded before with the same files, version and choices.
:once
type "%~2" requirements-torch.txt constraints.txt >venv\.wanted 2>nul
>>venv\.wanted (
    "%venv_python%" -V
    set TORCH_
    set XFORMERS_PACKAGE
) 2>nul
fc /b venv\.wanted "venv\.%~1" >nul 2>nul && exit /b 0
echo Installing %~1
call :install_%~1
if errorlevel 1 (
    echo Installing %~1 failed: see the lines above, check the network connection, and start again to continue where it stopped. 1>&2
    exit /b 1
)
copy /y venv\.wanted "venv\.%~1" >nul
exit /b 0

:install
if not exist "%REQS_FILE%" echo REQS_FILE=%REQS_FILE% does not exist: set it to a file of requirements. 1>&2
if not exist "%REQS_FILE%" exit /b 1
rem The ordinary index has only CPU builds for Windows.
if defined TORCH_COMMAND goto :torch_chosen
if defined TORCH_INDEX_URL goto :torch_chosen
where nvidia-smi >nul 2>nul && echo An NVIDIA GPU was found, but the standard build of torch for Windows does not use it: set TORCH_INDEX_URL to the CUDA address shown on pytorch.org/get-started and start again.
:torch_chosen
set "made="
if exist venv\.made set /p made=<venv\.made
if not exist "%venv_python%" set "made="
if not "%made%"=="for %PYTHON%" call :ensure_venv || exit /b 1
>venv\.made echo for %PYTHON%
if defined reinstall_torch >venv\.torch echo old
if defined reinstall_xformers del /q venv\.xformers 2>nul
call :once torch requirements-torch.txt || exit /b 1
call :once requirements "%REQS_FILE%" || exit /b 1
if defined use_xformers call :once xformers nul || exit /b 1
if defined test call :once test-requirements requirements-test.txt || exit /b 1
exit /b 0

:run_tests
set "status=0"
set "PATH=%~dp0venv\Scripts;%PATH%"
for %%c in ("ruff format --check ." "ruff check ." "pyright") do (
    echo == %%~c
    "%venv_python%" -m %%~c <nul || set "status=1"
)
echo == pytest
"%venv_python%" -m pytest %arguments% <nul || set "status=1"
if defined arguments exit /b %status%
echo == pip-audit
"%venv_python%" -m tests.audit <nul || set "status=1"
exit /b %status%
